"""Run as the child of a session: does what programs do with the pod's volumes, and prints as JSON what came
of it.

Argument: a directory of the laptop that is to be made, for what is brought there. Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA, FROZEN, PART, INNER = (
    Path("/srv/data"),
    Path("/srv/frozen"),
    Path("/srv/part"),
    Path("/srv/data/settings"),
)
SCRATCH, GUARDED = Path("/scratch"), Path("/scratch/guarded")
COPIED, OFF = Path("/srv/copied"), Path("/srv/off")


def errno_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{argv}: {done.returncode}: {done.stdout}{done.stderr}"


def waited_for(path: Path, seconds: float = 60) -> str:
    """What is in a file once it is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists():
            return path.read_text()
        time.sleep(0.05)
    return "not there"


def git(laptop: Path) -> list[str]:
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.com")
    source, clone = laptop / "source", DATA / "clone"
    source.mkdir()
    for number in range(10):
        (source / f"file{number}").write_text(f"{number}\n" * 100)
    said = [run("git", "init", "-q", str(source)), run("git", "-C", str(source), "add", ".")]
    said.append(run("git", "-C", str(source), *identity, "commit", "-qm", "first"))
    said.append(run("git", "clone", "-q", f"file://{source}", str(clone)))
    (clone / "more").write_text("more")
    said.append(run("git", "-C", str(clone), "add", "more"))
    said.append(run("git", "-C", str(clone), *identity, "commit", "-qm", "second"))
    said.append(run("git", "-C", str(clone), "diff", "--exit-code", "HEAD"))
    return [one for one in said if one]


def unpacked(laptop: Path) -> list[str]:
    tree = laptop / "tree"
    for number in range(40):
        path = tree / f"d{number % 5}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 137))
    (tree / "link").symlink_to("d1")
    with tarfile.open(laptop / "tar", "w") as archive:
        archive.add(tree, "tree")
    said = [run("tar", "-C", str(DATA), "-xf", str(laptop / "tar"))]
    said.append(run("diff", "-r", "--no-dereference", str(tree), str(DATA / "tree")))
    return [one for one in said if one]


def database(mode: str) -> list[Any]:
    path = DATA / f"{mode}.db"
    with sqlite3.connect(path) as opened:
        opened.execute(f"pragma journal_mode={mode}")
        opened.execute("create table t (n integer)")
        opened.executemany("insert into t values (?)", [(n,) for n in range(100)])
    with sqlite3.connect(path) as opened:
        return [
            *opened.execute("select sum(n) from t").fetchone(),
            *opened.execute("pragma integrity_check").fetchone(),
        ]


def look(laptop: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    laptop.mkdir()
    found["filled"] = (DATA / "filled" / "file").read_text()
    found["link"] = [os.readlink(DATA / "link"), (DATA / "link").read_text()]
    found["inner"] = (INNER / "colour").read_text()
    found["inner write"] = errno_of(lambda: (INNER / "new").write_text("x"))
    found["part"] = sorted(os.listdir(PART))
    found["mine"] = os.stat(DATA / "filled" / "file").st_uid == os.geteuid()
    frozen: list[Callable[[], Any]] = [
        lambda: (FROZEN / "new").write_text("x"),
        lambda: (FROZEN / "filled" / "file").write_text("x"),
        lambda: os.mkdir(FROZEN / "d"),
        lambda: os.unlink(FROZEN / "link"),
    ]
    found["frozen"] = [errno_of(one) for one in frozen]
    found["frozen access"] = os.access(FROZEN / "filled" / "file", os.W_OK)
    found["guarded"] = [
        errno_of((GUARDED / "secret").read_text),
        errno_of(lambda: os.listdir(GUARDED)),
    ]
    found["guarded write"] = errno_of(lambda: (SCRATCH / "owned").write_text("x"))
    found["access"] = [os.access(SCRATCH / "owned", mode) for mode in (os.R_OK, os.W_OK)]
    (SCRATCH / "from-child").write_text("hello from the child")
    found["helper"] = waited_for(SCRATCH / "from-helper")
    os.umask(0o027)
    (DATA / "mode").write_text("x")
    found["mode"] = oct(stat.S_IMODE(os.stat(DATA / "mode").st_mode))
    os.umask(0o022)
    found["git"] = git(laptop)
    found["tree"] = unpacked(laptop)
    found["sqlite"] = [database(mode) for mode in ("delete", "wal")]
    with open(DATA / "large", "wb") as file:
        for _ in range(20):
            file.write(os.urandom(1 << 20))
    found["large"] = run("cmp", str(DATA / "large"), str(FROZEN / "large"))
    space = os.statvfs(DATA)
    found["space"] = [space.f_frsize * space.f_blocks, space.f_namemax]
    found["shell"] = run("sh", "-ec", f"cd {DATA}; echo one >shell; echo two >>shell; test -s shell")
    (COPIED / "mine").write_text("only here")
    found["copied"] = [(COPIED / "filled" / "file").read_text(), (DATA / "mine").exists()]
    found["off"] = OFF.exists()
    (DATA / "last").write_text("kept")
    return found


if __name__ == "__main__":
    print(json.dumps(look(Path(sys.argv[1]))))
