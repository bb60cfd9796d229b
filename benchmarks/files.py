"""What a session's command reads in a live volume, beside sshfs to the same: files that nobody here knows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from integration.support.namespaces import Namespace

from .asking import Answer, Client, Failed, client
from .figures import Figure, Limit
from .load.fill import SMALL_SIZE
from .openssh import ssh_server
from .pods import LOAD, SSH_CONTAINER, ssh_container
from .sessions import HELD, session
from .sshfs import ensure_sshfs, mounted
from .stage import TROUBLE, Stage, attempted, say
from .trials import Metric, Samples
from .tunnels import kubeconfig_by_link
from .ways import SESSION, SSHFS

TOP = "/srv/files"
MOUNT = {"name": "files", "mountPath": TOP}
FILES = replace(
    HELD,
    name="files",
    pod={"volumes": [{"name": "files", "emptyDir": {}}]},
    container={"volumeMounts": [MOUNT]},
    siblings=(ssh_container(MOUNT),),
)
"""An emptyDir is shared with the container beside, in which it is filled and in which the sshd runs."""

SMALL, FEW_SMALL, LARGE = 2000, 100, 200_000_000
PATIENCE = 300.0
RATE = Metric("200 MB file, cold", "MB/s", lambda answer: answer["bytes"] / 1e6 / answer["seconds"])


@dataclass(frozen=True)
class Reader:
    """A client that finds the volume at `top`, and reads so many small files of it."""

    client: Client
    top: str
    small: int

    def read(self, name: str, small_rate: Metric) -> Iterator[tuple[Metric, float | str]]:
        """What `fill` has made by that name: a value of each metric, or why there is none."""
        for part, metric, expected in (
            ("small", small_rate, (self.small, self.small * SMALL_SIZE)),
            ("large", RATE, (1, LARGE)),
        ):
            try:
                if not self.client.lives:  # what it still answers would be to another question
                    raise Failed("its client is gone")
                answer = self.client.ask("read", path=f"{self.top}/{name}/{part}", patience=PATIENCE)
                yield metric, metric.of(whole(answer, *expected))
            except TROUBLE as error:
                yield metric, str(error)


def whole(answer: Answer, files: int, size: int) -> Answer:
    """PURE: the answer, or Failed when it is not of all files, or not of all their bytes."""
    if (answer["files"], answer["bytes"]) != (files, size):
        raise Failed(f"read {answer['bytes']} bytes in {answer['files']} files, not {size} in {files}")
    return answer


def rival_small(round_trip: float) -> int:
    """PURE: how many small files sshfs reads; by a slow link each costs it several round trips, which do not
    become fewer with more files."""
    return FEW_SMALL if round_trip else SMALL


def small_rate(round_trip: float) -> Metric:
    """PURE: per second, as the two may not read equally many."""
    count = rival_small(round_trip)
    name = f"{SMALL:,} small files, cold" + (f" (sshfs: {count} of them)" if count < SMALL else "")
    return Metric(name, "files/s", lambda answer: answer["files"] / answer["seconds"])


def limits(round_trip: float) -> dict[tuple[str, str], Limit]:
    """PURE: by the metric's name and the rival; between 0 and 50 ms what asks for less of the two."""
    return {
        (small_rate(round_trip).name, SSHFS): Limit(least_ratio=100.0 if round_trip >= 50 else 20.0),
        (RATE.name, SSHFS): Limit(least_ratio=1.0),
    }


def files_figures(stage: Stage, round_trips: list[float], rounds: int) -> list[Figure]:
    """Groups for each round trip, in milliseconds."""
    found = []
    for round_trip in round_trips:
        name = f"Files of a live volume, {round_trip:g} ms round trip"
        found += attempted(name, partial(_by_link, stage, round_trip, rounds, name), name)
    return found


def _by_link(stage: Stage, round_trip: float, rounds: int, group: str) -> list[Figure]:
    samples, metric = Samples(), small_rate(round_trip)
    live = ("--volume", f"{TOP}=live")  # refused where it would be a copy
    with contextlib.ExitStack() as stack:
        kubeconfig = stack.enter_context(kubeconfig_by_link(stage, round_trip))
        content = json.loads(Path(kubeconfig).read_text())
        held = stack.enter_context(session(stage, content, FILES, live))
        pod = str(held.pod["metadata"]["name"])
        beside = partial(_by_sshfs, stage.namespace, pod, kubeconfig, rival_small(round_trip))
        readers: list[tuple[str, Reader | str]] = [
            (SESSION, Reader(held.client, TOP, SMALL)),
            (SSHFS, _opened(stack, beside)),
        ]

        def once(number: int) -> None:
            first = number % len(readers)
            for way, reader in readers[first:] + readers[:first]:
                name = f"{number}-{way}"
                for each, value in _read(stage.namespace, pod, reader, name, metric):
                    samples.add(each, way, value)
            say(f"{group}, round {number}")

        stage.rounds(rounds, once, group)
    return samples.figures(group, limits(round_trip), SESSION)


def _read(
    namespace: Namespace, pod: str, reader: Reader | str, name: str, metric: Metric
) -> list[tuple[Metric, float | str]]:
    if isinstance(reader, str):
        return [(metric, reader), (RATE, reader)]
    try:
        _fill(namespace, pod, name, reader.small)
    except TROUBLE as error:
        return [(metric, str(error)), (RATE, str(error))]
    return list(reader.read(name, metric))


def _fill(namespace: Namespace, pod: str, name: str, small: int) -> None:
    """In the pod, whose own caches are warm then, for both alike; what was read before goes."""
    program = (LOAD / "fill.py").read_text()
    python = ("python3", "-", TOP, name, str(small), str(LARGE))
    namespace.kubectl("exec", "-i", pod, "-c", SSH_CONTAINER, "--", *python, stdin=program, seconds=120)


@contextlib.contextmanager
def _by_sshfs(namespace: Namespace, pod: str, kubeconfig: str, small: int) -> Iterator[Reader]:
    ensure_sshfs(may_install=namespace.cluster.is_own)
    # the client is ended last: while it waits for a file that does not come, nothing else would end it
    with client() as reading, ssh_server(namespace, pod) as server:
        with mounted(server, kubeconfig, TOP) as mount:
            yield Reader(reading, str(mount), small)


def _opened(
    stack: contextlib.ExitStack, opener: Callable[[], AbstractContextManager[Reader]]
) -> Reader | str:
    """Or why there is none."""
    try:
        return stack.enter_context(opener())
    except TROUBLE as error:
        return str(error)
