"""Asks podman of the laptop, as this user's own (rootless)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

_ENTER_SECONDS = 15.0
_ASK_SECONDS = 60.0
# a shell, as that tells its number; it lives until its input ends
_HOLD = ("podman", "unshare", "sh", "-c", "echo $$; read -r _")


class PodmanFailed(Exception):
    """The text is a clause that says how."""


def open_user_namespace() -> int:
    """A descriptor of the user namespace in which podman has this user's containers; the caller closes it.

    Blocks for some 50 to 200 ms. In it this user is root, and has the ids of /etc/subuid and /etc/subgid.
    """
    try:
        holder = subprocess.Popen(
            _HOLD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
        )
    except OSError as error:
        raise PodmanFailed(_missing(error)) from error
    with holder:
        try:
            return _namespace_of(holder)
        finally:
            _end(holder)


def _namespace_of(holder: subprocess.Popen[str]) -> int:
    assert holder.stdout is not None
    assert holder.stderr is not None
    said = holder.stdout.readline().strip()
    if not said.isdecimal():
        raise PodmanFailed(f"`podman unshare` says: {_last_line(holder.stderr.read())}")
    try:
        return os.open(f"/proc/{said}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PodmanFailed(f"it cannot be opened ({error.strerror})") from error


def _end(holder: subprocess.Popen[str]) -> None:
    assert holder.stdin is not None
    holder.stdin.close()
    try:
        holder.wait(_ENTER_SECONDS)
    except subprocess.TimeoutExpired:
        holder.kill()


def ask_podman(words: Sequence[str]) -> tuple[int, str]:
    """The exit code of `podman WORDS` and the last line that it said; PodmanFailed where there is none, or
    where it does not end."""
    try:
        done = subprocess.run(
            ("podman", *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=_ASK_SECONDS,
            check=False,
        )
    except OSError as error:
        raise PodmanFailed(_missing(error)) from error
    except subprocess.TimeoutExpired as error:
        raise PodmanFailed(f"`podman {words[0]}` did not end within {_ASK_SECONDS:g} s") from error
    return done.returncode, _last_line(done.stderr)


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].removeprefix("Error: ") if lines else "nothing"


def _missing(error: OSError) -> str:
    return f"podman is not installed here ({error.strerror})"
