"""OpenSSH through `kubectl port-forward` to an sshd in the pod, as Telepresence 1 had it.

No image has one: the sshd of this machine, or of its distribution's package, is copied into a container with
the libraries that it needs, and runs there as a user without rights on the pod's loopback.
"""

from __future__ import annotations

import contextlib
import io
import re
import secrets
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from integration.support.cluster import cache_directory
from integration.support.namespaces import Namespace
from integration.support.waiting import wait_until

from .asking import Client, Failed, client
from .pods import ECHO, POD, PORTS, SSH_CONTAINER, TunnelPod
from .ways import OPENSSH, Way, client_in_pod, end, free_ports, port_forward, server_here

START = """
import io, os, subprocess, sys, tarfile
directory, size, *command = sys.argv[1:]
archive = io.BytesIO(sys.stdin.buffer.read(int(size)))
tarfile.open(fileobj=archive).extractall(directory)
server = subprocess.Popen(command)
sys.stdin.buffer.read()
server.kill()
"""
"""Unpacks what comes on stdin, and runs the command for as long as stdin is open."""
SETTINGS = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
PidFile none
GatewayPorts clientspecified
Subsystem sftp internal-sftp
"""
CLIENT_OPTIONS = (
    "IdentitiesOnly=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    "BatchMode=yes",
)
LOGIN = "nobody@127.0.0.1"


@dataclass(frozen=True)
class SshServer:
    """An sshd on the pod's loopback, at `port`; `key` is the path of the private key that it takes."""

    namespace: Namespace
    pod: str
    port: int
    key: Path


@contextlib.contextmanager
def ssh_server(namespace: Namespace, pod: str = POD) -> Iterator[SshServer]:
    """In the pod's SSH_CONTAINER. Failed when this machine has no OpenSSH and cannot get it."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        raise Failed("no OpenSSH client here: install openssh-client")
    sshd, port = _sshd(), 20000 + secrets.randbelow(10000)
    there = f"/tmp/ssh-{port}"
    with tempfile.TemporaryDirectory(prefix="telepresence-py-bench-") as name:
        directory = Path(name)
        for key in ("key", "host_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key))
        (directory / "config").write_text(SETTINGS.format(port=port, directory=there))
        loader, libraries = _libraries(sshd)
        files = {path.name: path for path in libraries} | {"sshd": sshd}
        files |= {part: directory / part for part in ("host_key", "key.pub", "config")}
        archive = _archive(files)
        run_sshd = (f"{there}/{loader}", "--library-path", there, f"{there}/sshd", "-r", "-D", "-e", "-f")
        in_pod = ("python3", "-c", START, there, str(len(archive)), *run_sshd, f"{there}/config")
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(_exec_in_pod(namespace, pod, in_pod))
            assert server.stdin is not None
            server.stdin.write(archive)
            server.stdin.flush()
            _await_listening(server)
            yield SshServer(namespace, pod, port, directory / "key")


@contextlib.contextmanager
def _exec_in_pod(namespace: Namespace, pod: str, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    command = namespace.cluster.kubectl_command(
        "-n", namespace.name, "exec", "-i", pod, "-c", SSH_CONTAINER, "--", *words
    )
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        end(process)
        process.stderr.close()


@contextlib.contextmanager
def openssh(pod: TunnelPod, kubeconfig: str) -> Iterator[Way]:
    """`ssh -L` for each of the pod's ports."""
    first = free_ports(len(PORTS))
    found = {port: first + number for number, port in enumerate(PORTS)}
    forwards = [word for port, here in found.items() for word in ("-L", f"127.0.0.1:{here}:127.0.0.1:{port}")]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ssh_server(pod.namespace))
        processes = stack.enter_context(_ssh(server, kubeconfig, forwards))
        asking = stack.enter_context(client())
        wait_until(partial(_takes_connections, asking, "127.0.0.1", found[ECHO]), 20, "ssh forwards")
        yield Way(OPENSSH, asking, "127.0.0.1", found, processes)


@contextlib.contextmanager
def openssh_back(pod: TunnelPod, kubeconfig: str) -> Iterator[Way]:
    """`ssh -R`: from another pod to that pod, and on to a server here."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ssh_server(pod.namespace))
        here = stack.enter_context(server_here())
        found = {port: server.port + 1 + number for number, port in enumerate(here)}
        forwards = [word for port in here for word in ("-R", f"0.0.0.0:{found[port]}:127.0.0.1:{here[port]}")]
        processes = stack.enter_context(_ssh(server, kubeconfig, forwards))
        asker = stack.enter_context(client_in_pod(pod, "asker", on_node=False))
        wait_until(partial(_takes_connections, asker, pod.address, found[ECHO]), 20, "ssh forwards back")
        yield Way(OPENSSH, asker, pod.address, found, processes)


def _takes_connections(asker: Client, host: str, port: int) -> bool:
    with contextlib.suppress(Failed):
        asker.ask("hold", host=host, port=port, count=1)
        asker.ask("hold", host=host, port=port, count=0)
        return True
    return False


@contextlib.contextmanager
def _ssh(
    server: SshServer, kubeconfig: str, forwards: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[bytes], ...]]:
    with port_forward(server.namespace, server.pod, kubeconfig, (server.port,)) as (forwarding, ports):
        options = (*CLIENT_OPTIONS, "ExitOnForwardFailure=yes")
        settings = [word for option in options for word in ("-o", option)]
        target = ("-i", str(server.key), "-p", str(ports[server.port]), LOGIN)
        ssh = subprocess.Popen(["ssh", "-F", "none", "-N", *settings, *forwards, *target])
        try:
            yield forwarding, ssh
        finally:
            end(ssh)


def _sshd() -> Path:
    installed = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
    if installed is not None:
        return Path(installed)
    unpacked = cache_directory() / "openssh-server"
    found = unpacked / "usr/sbin/sshd"
    if not found.exists():
        if shutil.which("apt-get") is None:
            raise Failed("no sshd here: install openssh-server")
        with tempfile.TemporaryDirectory() as name:  # only unpacked: it would be started otherwise
            _run("apt-get", "download", "-qq", "openssh-server", "libwrap0", directory=Path(name))
            for package in Path(name).glob("*.deb"):
                _run("dpkg-deb", "-x", str(package), str(unpacked))
    return found


def _libraries(program: Path) -> tuple[str, list[Path]]:
    """The name of its dynamic loader, and all that it loads, the loader too."""
    beside = [str(path.parent) for path in program.parents[2].glob("*/lib/*/libwrap.so.0")]
    listed = _run("env", f"LD_LIBRARY_PATH={':'.join(beside)}", "ldd", str(program))
    missing = re.findall(r"^\s*(\S+) => not found", listed, re.MULTILINE)
    if missing:
        raise Failed(f"sshd lacks {', '.join(missing)}")
    paths = [Path(path) for path in re.findall(r"(/\S+) \(0x", listed)]
    loader = next((path for path in paths if path.name.startswith("ld-linux")), None)
    if loader is None:
        raise Failed(f"nothing is known of how {program} is loaded")
    return loader.name, paths


def _archive(files: dict[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in files.items():
            entry = tarfile.TarInfo(name)
            content = path.read_bytes()
            entry.size, entry.mode = len(content), 0o700
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _await_listening(server: subprocess.Popen[bytes]) -> None:
    said: list[bytes] = []

    def read() -> None:
        assert server.stderr is not None
        with contextlib.suppress(ValueError):  # closed at the end
            for line in server.stderr:
                said.append(line)

    threading.Thread(target=read, daemon=True).start()

    def listens() -> bool:
        text = b"".join(said).decode(errors="replace")
        if server.poll() is not None:
            raise Failed(f"sshd does not run in the pod: {text[-500:]}")
        return "listening on" in text

    wait_until(listens, 20, "sshd listens in the pod", every=0.05, seen=lambda: b"".join(said))


def _run(*command: str, directory: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
    if done.returncode:
        raise Failed(f"{' '.join(command)[:100]}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
