"""sshfs to an sshd in a pod, through `kubectl port-forward`: a directory here that shows one of the pod's.

With its own settings, but for those that let ssh in without asking anybody.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from integration.support.programs import ensure
from integration.support.waiting import wait_until

from .asking import Failed
from .openssh import CLIENT_OPTIONS, LOGIN, SshServer
from .stage import say
from .ways import end, port_forward

PATIENCE = 20.0


def ensure_sshfs(may_install: bool) -> None:
    """Failed when this machine has none and nothing may be installed on it."""
    if shutil.which("sshfs") is None and not may_install:
        raise Failed("no sshfs here: install sshfs")
    ensure("sshfs", may_install)


@contextlib.contextmanager
def mounted(server: SshServer, kubeconfig: str, pod_directory: str) -> Iterator[Path]:
    """Where that directory is here; for this user alone."""
    mount = Path(tempfile.mkdtemp(prefix="telepresence-py-bench-"))
    try:
        with (
            port_forward(server.namespace, server.pod, kubeconfig, (server.port,)) as (_, ports),
            _sshfs(command(server.key, ports[server.port], pod_directory, mount), mount),
        ):
            yield mount
    finally:
        try:
            mount.rmdir()  # never what is in it: if it were still mounted, these would be the pod's files
        except OSError as error:
            say(f"{mount} is left: {error}")


def command(key: Path, port: int, pod_directory: str, mount: Path) -> list[str]:
    """PURE: it stays in the foreground, so that it can be ended."""
    options = (*CLIENT_OPTIONS, f"IdentityFile={key}")
    settings = [word for option in options for word in ("-o", option)]
    return ["sshfs", "-f", "-F", "none", "-p", str(port), *settings, f"{LOGIN}:{pod_directory}", str(mount)]


@contextlib.contextmanager
def _sshfs(words: Sequence[str], mount: Path) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def said() -> str:
            log.seek(0)
            return log.read().decode(errors="replace").strip()

        def is_mounted() -> bool:
            if process.poll() is not None:
                raise Failed(f"sshfs ended with {process.returncode}: {said()[-500:]}")
            return os.path.ismount(mount)

        try:
            wait_until(is_mounted, PATIENCE, "sshfs has mounted", every=0.02, seen=said)
            yield
        finally:
            # lazily: who still waits for a file of it gets an error when the process has ended
            unmounting = ("fusermount3", "-u", "-z", str(mount))
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(unmounting, capture_output=True, timeout=PATIENCE, check=False)
            end(process)
