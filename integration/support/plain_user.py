"""Who runs the product in these tests: a plain user, also when the tests themselves run as root.

Root's home is closed to others, so there is a world-readable copy of the sources and a virtual environment
made of the system's Python, both kept between runs and refreshed when the sources change; one of each for
every checkout, so that several can be tested side by side.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from integration.support.cluster import ROOT
from integration.support.turns import turn

USER = "telepresence-test"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
"""Where this user finds programs, beside its own virtual environment."""
HOME = Path("/var/lib/telepresence-py-tests/home")
GROUND = HOME.parent / hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
FOR_TESTS = ("psutil",)
"""What a system that is not Linux has, too."""
FUSE = Path("/dev/fuse")
COPIED = (
    "telepresence_py",
    "sidecar",
    "integration/probe",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "Dockerfile.sidecar",
)


@dataclass(frozen=True)
class PlainUser:
    """An account, the interpreter and the sources that it can read, and a directory for what runs leave."""

    name: str
    uid: int
    gid: int
    home: Path
    venv: Path
    sources: Path
    runs: Path

    def popen_arguments(self) -> dict[str, object]:
        """What makes subprocess start a program as this user."""
        if os.geteuid() == self.uid:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> Path:
        """Make a file or an empty directory this user's own."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)
        return path


def plain_user() -> PlainUser:
    """Whoever runs the tests; for root an account of its own, made when it is missing."""
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.geteuid())
        runs = Path("/tmp") / f"telepresence-py-tests-{me.pw_uid}"
        runs.mkdir(mode=0o700, exist_ok=True)
        return PlainUser(me.pw_name, me.pw_uid, me.pw_gid, Path(me.pw_dir), Path(sys.prefix), ROOT, runs)
    previous = os.umask(0o022)
    try:
        with turn("plain-user"):
            return _account_for_root()
    finally:
        os.umask(previous)


def _account_for_root() -> PlainUser:
    venv, sources, runs = (GROUND / part for part in ("venv", "sources", "runs"))
    GROUND.mkdir(parents=True, exist_ok=True, mode=0o755)
    try:
        account = pwd.getpwnam(USER)
    except KeyError:
        _run("useradd", "--create-home", "--home-dir", str(HOME), "--shell", "/bin/bash", USER)
        account = pwd.getpwnam(USER)
    runs.mkdir(exist_ok=True, mode=0o755)
    _open_fuse()
    _refresh_copy(sources)
    _refresh_venv(venv, sources)
    return PlainUser(USER, account.pw_uid, account.pw_gid, Path(account.pw_dir), venv, sources, runs)


def _open_fuse() -> None:
    """Containers and bare systems keep it for root; everywhere else every user may open it (udev's own
    rule)."""
    if FUSE.exists() and FUSE.stat().st_mode & 0o666 != 0o666:
        print(f"test: chmod 666 {FUSE}, as distributions have it")
        FUSE.chmod(0o666)


def _refresh_copy(sources: Path) -> None:
    digest = _digest([ROOT / name for name in COPIED])
    stamp = GROUND / "sources.digest"
    if stamp.exists() and stamp.read_text() == digest:
        return
    stamp.unlink(missing_ok=True)
    shutil.rmtree(sources, ignore_errors=True)
    for name in COPIED:
        origin, target = ROOT / name, sources / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(
                origin, target, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__")
            )
        elif origin.exists():
            shutil.copyfile(origin, target)
    for program in sources.glob("integration/probe/*.sh"):
        program.chmod(0o755)
    # the plain user cannot write byte code there, and would compile everything anew at each start
    _run("/usr/bin/python3", "-m", "compileall", "-q", str(sources))
    stamp.write_text(digest)


def _refresh_venv(venv: Path, sources: Path) -> None:
    digest = _digest([ROOT / "pyproject.toml"])
    stamp = GROUND / "venv.digest"
    if stamp.exists() and stamp.read_text() == digest:
        return
    stamp.unlink(missing_ok=True)
    _run("/usr/bin/python3", "-m", "venv", "--clear", str(venv))
    _run(
        str(venv / "bin/pip"), "install", "-q", "--disable-pip-version-check", "-e", str(sources), *FOR_TESTS
    )
    stamp.write_text(digest)


def _digest(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-500:]}{done.stderr[-1500:]}")
