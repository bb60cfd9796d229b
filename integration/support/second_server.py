"""A second API server of the own cluster: like the first one, but it takes client certificates too."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from integration.support.cluster import Cluster, KubectlFailed
from integration.support.waiting import wait_until

PORT = 20000 + os.getpid() % 10000
"""Of each process its own, and below those of NodePorts and those that the kernel gives away."""
ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM")


@contextlib.contextmanager
def second_server(cluster: Cluster) -> Iterator[str]:
    """Its URL, while the block lasts; on the same etcd, and no part of the Service `kubernetes`."""
    assert cluster.kubeconfig is not None, "only the own cluster can be given another API server"
    state = cluster.kubeconfig.parent
    first = int((state / "pid" / "apiserver").read_text())
    words = Path(f"/proc/{first}/cmdline").read_text().rstrip("\0").split("\0")
    changed = [f"--secure-port={PORT}" if word.startswith("--secure-port=") else word for word in words]
    more = [f"--client-ca-file={state}/pki/ca.crt", "--endpoint-reconciler-type=none"]
    url = f"https://{urlsplit(cluster.address()['server']).hostname}:{PORT}"
    told = state / "log" / f"second-apiserver-{PORT}.log"
    with told.open("wb") as log:
        server = subprocess.Popen(
            [*ENDS_WITH_US, "nsenter", f"--target={first}", "--net", *changed, *more],
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def ready() -> bool:
        assert server.poll() is None, f"it ended: see {told}"
        with contextlib.suppress(KubectlFailed):
            return cluster.kubectl("--server", url, "get", "--raw", "/readyz") == "ok"
        return False

    try:
        wait_until(ready, 90, "the second API server")
        yield url
        told.unlink()
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
