"""Writing an image into the user's config.toml, where everything else stays as the user wrote it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.settings import parse_settings


def remember_image(path: Path, context: str | None, reference: str) -> None:
    """Make `reference` the image of the context, or with None of all contexts that have none of their own.

    The file is replaced as a whole; PreconditionFailed, and the old one stays, when that cannot be done.
    """
    try:
        target = path.resolve()  # a link into a directory of dotfiles stays one
        text = target.read_bytes().decode() if target.exists() else ""
        parse_settings(path, text)
        changed = with_image(text, context, reference)
        if changed != text:
            parse_settings(path, changed)
            _replace(target, changed)
    # ValueError: the library's for a table written in one line, a file's for what is not text
    except (OSError, ValueError, TOMLKitError) as error:
        table = "" if context is None else f" below [contexts.{tomlkit.string(context).as_string()}]"
        raise PreconditionFailed(
            f'the image was pushed, but cannot be remembered in {path} ({error}): write image = "{reference}"'
            f"{table} there yourself"
        ) from error


def with_image(text: str, context: str | None, reference: str) -> str:
    """PURE: the settings with that image, comments and layout as they were."""
    document: Any = tomlkit.parse(text)
    table = document
    if context is not None:
        contexts = document.setdefault("contexts", tomlkit.table(is_super_table=True))
        table = contexts.setdefault(context, tomlkit.table())
    table["image"] = reference
    return tomlkit.dumps(document)


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".config-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
