"""A gRPC server and its client, without generated code. Needs python3-grpcio.

echo_grpc.py serve PORT
echo_grpc.py call HOST PORT      prints what came of one call, of a stream both ways, and of a refusal
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any

import grpc

SERVICE = "probe.Echo"
PIECES, PIECE = 100, bytes(20_000)
PATIENCE = 30.0


def once(request: bytes, _context: Any) -> bytes:
    return request[::-1]


def stream(requests: Iterable[bytes], _context: Any) -> Iterator[bytes]:
    yield from requests


def refuse(_request: bytes, context: Any) -> bytes:
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")
    raise AssertionError


def serve(port: int) -> None:
    handlers = {
        "Once": grpc.unary_unary_rpc_method_handler(once),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"[::]:{port}")
    server.start()
    print("listening", flush=True)
    server.wait_for_termination()


def call(host: str, port: str) -> dict[str, object]:
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        said = channel.unary_unary(f"/{SERVICE}/Once")(b"abc", timeout=PATIENCE)
        pieces = (PIECE for _ in range(PIECES))
        echoes = channel.stream_stream(f"/{SERVICE}/Stream")(pieces, timeout=PATIENCE)
        streamed = sum(len(each) for each in echoes)
        try:
            channel.unary_unary(f"/{SERVICE}/Refuse")(b"", timeout=PATIENCE)
            refused = ""
        except grpc.RpcError as error:
            refused = error.code().name
    return {"once": said.decode(), "streamed": streamed, "refused": refused}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(json.dumps(call(*sys.argv[2:4])))
