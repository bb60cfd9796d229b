"""The runtime directory of this user, and the records in it of the sessions that live on this machine."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from telepresence_py import system
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.records import SessionRecord


def runtime_directory() -> Path:
    """$XDG_RUNTIME_DIR/telepresence-py, else /tmp/telepresence-py-<uid>; made with mode 0700.

    Raises PreconditionFailed when the directory is not ours alone, since door and log are in it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    # under sudo the variable may still name the directory of the user who called it
    if base and os.path.isdir(base) and os.stat(base).st_uid == os.geteuid():
        directory = Path(base, "telepresence-py")
    else:
        directory = Path(f"/tmp/telepresence-py-{os.geteuid()}")
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        facts = directory.lstat()
    except OSError as error:
        raise PreconditionFailed(
            f"cannot make the runtime directory {directory} ({error.strerror}); set XDG_RUNTIME_DIR to a "
            "directory of your own"
        ) from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise PreconditionFailed(
            f"{directory} must be a directory of this user with mode 0700; remove it or set XDG_RUNTIME_DIR"
        )
    return directory


def process_start(pid: int) -> int | None:
    """When the process began, in clock ticks since boot (field 22 of /proc/<pid>/stat), without Linux as
    `neutral` tells it; None if gone."""
    if not system.LINUX:
        from telepresence_py.process import neutral

        return neutral.process_start(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    after_name = text.rpartition(")")[2].split()
    if after_name[0] in "ZX":
        return None
    return int(after_name[19])


def write_record(directory: Path, record: SessionRecord) -> Path:
    """Put the record down, whole or not at all; its owner unlinks it."""
    path = directory / f"{record.session}.json"
    aside = path.with_suffix(".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(record.to_json())
    aside.rename(path)
    return path


def socket_path(directory: Path, session: str) -> Path:
    """Where that session answers questions."""
    return directory / f"{session}.sock"


def live_sessions(directory: Path) -> list[SessionRecord]:
    """Records whose process lives, oldest first; those of dead processes are removed on the way."""
    records = []
    for path in directory.glob("*.json"):
        try:
            record = SessionRecord.from_json(path.read_bytes())
        except (OSError, ValueError):
            continue
        if process_start(record.pid) == record.started:
            records.append(record)
        else:
            path.unlink(missing_ok=True)
            socket_path(directory, record.session).unlink(missing_ok=True)
    return sorted(records, key=lambda record: record.since)
