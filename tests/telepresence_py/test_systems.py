"""Systems that are not Linux: what the code uses of Linux alone, and that the rest does without."""

from __future__ import annotations

import ast
import configparser
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.support.elsewhere import LACKING, write_launcher
from telepresence_py import system
from telepresence_py.cluster import tls
from telepresence_py.model.intent import METHODS

ROOT = Path(__file__).parents[2]
KERNEL = "telepresence_py.process.kernel"


def linux_alone() -> set[str]:
    """The modules of which no other system imports any."""
    checked = configparser.ConfigParser()
    checked.read(ROOT / "scripts" / "mypy-macos.ini")
    words = [
        word.strip().removeprefix("mypy-") for section in checked.sections() for word in section.split(",")
    ]
    return {word for word in words if word.startswith("telepresence_py.")}


def modules() -> dict[str, Path]:
    paths = sorted((ROOT / "telepresence_py").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}


INVENTORY = {
    "telepresence_py.cli.sidecar_image": {"/proc/sys/fs/binfmt_misc"},
    "telepresence_py.cluster.tls": {"os.memfd_create", "/proc/self/fd/"},
    "telepresence_py.forward.alarm": {"kernel.set_timer", "kernel.timerfd"},
    "telepresence_py.isolation.diagnosis": {"socket.AF_NETLINK", "socket.SOCK_NONBLOCK"},
    "telepresence_py.isolation.facts": {
        "/proc/self/status",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "/proc/sys/kernel/unprivileged_userns_clone",
        "/proc/sys/user/max_net_namespaces",
        "/proc/sys/user/max_user_namespaces",
    },
    "telepresence_py.isolation.proxy": {"/proc/net/"},
    "telepresence_py.process.child": {"os.pipe2", "os.waitid", "/proc/"} | {
        f"kernel.{name}"
        for name in ("CLONE_NEWNET", "CLONE_NEWNS", "CLONE_NEWPID", "CLONE_NEWUSER", "CLONE_NEWUTS")
    } | {"kernel.clone_sibling", "kernel.die_with_parent", "kernel.setns"},
    "telepresence_py.process.ending": {"kernel.prctl"},
    "telepresence_py.process.job": {"kernel.SignalSource"},
    "telepresence_py.process.podman": {"/proc/"},
    "telepresence_py.process.records": {"/proc/"},
    "telepresence_py.process.sweep": {
        "os.pipe2", "kernel.clone_sibling", "kernel.die_with_parent", "kernel.setns", "/proc/self/ns/pid",
    },
    "telepresence_py.process.watcher": {"kernel.die_with_parent"},
    "telepresence_py.process.witness": {"os.waitid", "/proc/", "/proc/self/fd"},
    "telepresence_py.session.__main__": {"kernel.settle_heap"},
    "telepresence_py.system": {
        "socket.SOCK_NONBLOCK",
        "socket.TCP_KEEPIDLE",
        "socket.TCP_USER_TIMEOUT",
        "time.CLOCK_BOOTTIME",
    },
}  # fmt: skip
"""What modules for all systems use of Linux alone. Each use stands behind `system.LINUX` or in what only
Linux comes to; settle_heap, binfmt_misc and facts find out by themselves whether it is there."""


def uses(path: Path) -> Iterator[str]:
    lacking = {module.__name__: names for module, names in LACKING.items()} | {"select": ("epoll",)}
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(ast.Name(module), attribute) if attribute in lacking.get(module, ()):
                yield f"{module}.{attribute}"
            case ast.Attribute(ast.Name("kernel"), attribute) if attribute != "SignalReceived":
                yield f"kernel.{attribute}"
            case ast.ImportFrom(module, names):
                for alias in names:
                    if module == KERNEL and alias.name != "SignalReceived":
                        yield f"kernel.{alias.name}"
                    elif alias.name in lacking.get(module or "", ()):
                        yield f"{module}.{alias.name}"
            case ast.Constant(str(text)) if text.startswith("/proc/"):
                yield text


def test_what_modules_for_all_systems_use_of_linux_alone_is_listed():
    found = {
        name: set(uses(path))
        for name, path in modules().items()
        if name not in linux_alone() and name != KERNEL
    }
    assert {
        name: sorted(used ^ INVENTORY.get(name, set()))
        for name, used in found.items()
        if used != INVENTORY.get(name, set())
    } == {}


def test_modules_of_linux_alone_exist():
    assert linux_alone() <= modules().keys()


@pytest.fixture
def elsewhere(tmp_path):
    """`elsewhere(words...)` runs `python words...` without what macOS lacks."""
    launcher = write_launcher(tmp_path, sys.executable)
    path = os.pathsep.join((str(ROOT), str(ROOT / "sidecar")))
    environment = {**os.environ, "PYTHONPATH": path, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [launcher, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_a_whole_session_imports_nothing_of_linux_alone(elsewhere, tmp_path):
    program = tmp_path / "program.py"
    rooms = ("cli.commands", "cli.conversation", "cli.leftovers", "session.__main__", "isolation.proxy")
    rooms += ("session.swap", "session.run", "forward.proxying", "process.plugin", "process.watching")
    program.write_text(
        "import sys\n"
        + "".join(f"import telepresence_py.{room}\n" for room in rooms)
        + "print(*(name for name in sys.modules if name.startswith('telepresence_py')))"
    )
    done = elsewhere(str(program))
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert imported & linux_alone() == set()


def test_help_tells_which_method_there_is(elsewhere):
    done = elsewhere("-m", "telepresence_py", "swap", "--help")
    assert done.returncode == 0, done.stderr
    assert "on macOS by proxy variables alone" in " ".join(done.stdout.split())


@pytest.mark.parametrize("method", sorted({*METHODS} - {"proxy"}))
def test_a_method_of_linux_is_refused_before_anything_is_touched(elsewhere, method):
    done = elsewhere("-m", "telepresence_py", "swap", "orders", "--method", method, "--", "true")
    assert done.returncode == 78
    assert done.stderr == (
        f"telepresence-py: --method {method} needs Linux, this is macOS, which has --method proxy alone: "
        "leave it out, or take a virtual machine with Linux\n"
    )


def test_what_its_one_method_cannot_keep_is_refused_without_its_being_named(elsewhere):
    done = elsewhere("-m", "telepresence_py", "swap", "orders", "--publish", "9000", "--", "true")
    assert done.returncode == 2
    assert "--method proxy" in done.stderr


WINDOWS = """
import sys
for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
import os, signal, socket
for name in "fork geteuid getpgrp getuid killpg posix_spawn setsid uname waitpid".split():
    delattr(os, name)
for name in "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGQUIT SIGTSTP SIGUSR1 SIGWINCH".split():
    delattr(signal, name)
del socket.AF_UNIX
from telepresence_py import system
system.PLATFORM, system.LINUX = "win32", False
from telepresence_py.cli.main import main
main(sys.argv[1:])
"""
"""Not Windows, but without what its Python lacks."""


def on_windows(*words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), str(ROOT / "sidecar")))
    return subprocess.run(
        [sys.executable, "-c", WINDOWS, *words],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", [["swap", "orders", "--", "app", "--help"], ["run"], ["list"], ["restore", "x"]]
)
def test_windows_is_refused_in_one_sentence(words):
    done = on_windows(*words)
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr.startswith(
        "telepresence-py: telepresence-py does not run on Windows itself: install it in"
    )
    assert "WSL2" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["swap", "--help"], ["run", "-h"], ["--version"]])
def test_windows_has_help_and_the_version(words):
    done = on_windows(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_clients_key_is_in_a_file_of_the_users_own_for_a_moment(monkeypatch):
    monkeypatch.setattr(system, "LINUX", False)
    with tls._memory_file(b"key") as path:
        file = Path(path)
        assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"key", 0o600)
    assert not file.exists()


def test_sockets_do_not_block_and_notice_their_end(monkeypatch):
    monkeypatch.setattr(system, "LINUX", False)
    for made in (system.tcp_socket(socket.AF_INET), system.udp_socket(socket.AF_INET6)):
        with made:
            assert made.getblocking() is False
    with system.tcp_socket(socket.AF_INET) as made:
        for option in system.notices_its_end():
            made.setsockopt(*option)


def test_systems_are_called_as_people_call_them(monkeypatch):
    names = []
    for platform in ("linux", "darwin", "win32", "freebsd14"):
        monkeypatch.setattr(system, "PLATFORM", platform)
        names.append(system.name())
    assert names == ["Linux", "macOS", "Windows", "freebsd14"]
