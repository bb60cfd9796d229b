"""The user's config.toml, and what it has a say in. The one place that reads it.

    protected_contexts = ["prod-*"]    # whoever wants something done there is asked first
    image = "registry.example/telepresence-py-sidecar:0.1.0"    # the sidecar's, in every context

    [contexts."dev-eu"]    # a context's name, or a pattern of names
    image = "registry.example/team/telepresence-py-sidecar:0.1.0"

Patterns are the shell's (`*`, `?`, `[...]`), cover the whole name, and mind case. What cannot be understood
is refused with file and line: a slip of the pen must not undo a safety catch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.image import DEFAULT_IMAGE, ChosenImage, is_reference

IMAGE_VARIABLE = "TELEPRESENCE_PY_IMAGE"
_SETTINGS = ("protected_contexts", "image", "contexts")
_SETTINGS_OF_A_CONTEXT = ("image",)


@dataclass(frozen=True)
class Settings:
    """`context_images` maps names and patterns of contexts to images, in the file's order."""

    path: Path
    protected_contexts: tuple[str, ...] = ()
    image: str | None = None
    context_images: Mapping[str, str] = field(default_factory=dict)

    def protects(self, context: str) -> bool:
        return any(fnmatchcase(context, pattern) for pattern in self.protected_contexts)

    def image_for(self, context: str | None) -> ChosenImage | None:
        """The context's own by name, else by the first pattern that covers it, else the one for all."""
        if context is not None:
            covering = [pattern for pattern in self.context_images if fnmatchcase(context, pattern)]
            for key in (context, *covering):
                if key in self.context_images:
                    where = f'that of [contexts."{key}"] in {self.path}'
                    return ChosenImage(self.context_images[key], where)
        return None if self.image is None else ChosenImage(self.image, f"that of {self.path}")


def choose_image(
    named: str | None, environment: Mapping[str, str], settings: Settings, context: str | None
) -> ChosenImage:
    """`--image`, else the variable, else what the settings say for the context, else this version's.

    PreconditionFailed when the variable's value is no reference.
    """
    if named is not None:
        return ChosenImage(named, "named by --image")
    if variable := environment.get(IMAGE_VARIABLE):
        if not is_reference(variable):
            raise PreconditionFailed(
                f"{IMAGE_VARIABLE} is {variable!r}, which does not name an image; "
                "write for example registry.example/name:tag"
            )
        return ChosenImage(variable, f"named by {IMAGE_VARIABLE}")
    return settings.image_for(context) or ChosenImage(DEFAULT_IMAGE, "this version's own")


def settings_file(environment: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/telepresence-py/config.toml`; the base directory defaults to ~/.config."""
    base = environment.get("XDG_CONFIG_HOME") or ""
    root = (
        Path(base)
        if Path(base).is_absolute()
        else Path(environment.get("HOME", "~")).expanduser() / ".config"
    )
    return root / "telepresence-py" / "config.toml"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings of the user's file, the default ones without a file; PreconditionFailed for a bad one."""
    path = settings_file(environment)
    try:
        text = path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        return Settings(path)
    except OSError as error:
        raise PreconditionFailed(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PreconditionFailed(f"cannot understand the configuration {path}: {error}") from error
    return parse_settings(path, text)


def parse_settings(path: Path, text: str) -> Settings:
    """PURE: what the file's text says; PreconditionFailed with the line that cannot be understood."""
    import tomllib  # where there is no file, nobody needs it

    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # of what is open at the end it is told where it began
        at = "" if "(at line " in str(error) else f", line {line_of(text, ('',))}"
        raise PreconditionFailed(f"cannot understand the configuration {path}{at}: {error}") from error
    reader = _Reader(path, text)
    reader.require_known(raw, _SETTINGS)
    patterns = raw.get("protected_contexts", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        reader.refuse("must be a list of patterns", '["prod-*"]', "protected_contexts")
    contexts = raw.get("contexts", {})
    if not isinstance(contexts, dict):
        reader.refuse("must be a table", '[contexts."dev-eu"]', "contexts")
    images = {}
    for name, table in contexts.items():
        if not isinstance(table, dict):
            reader.refuse("must be a table", '[contexts."dev-eu"]', "contexts", name)
        reader.require_known(table, _SETTINGS_OF_A_CONTEXT, "contexts", name)
        if (image := reader.image(table, "contexts", name)) is not None:
            images[name] = image
    return Settings(path, tuple(patterns), reader.image(raw), images)


@dataclass(frozen=True)
class _Reader:
    path: Path
    text: str

    def require_known(self, table: Mapping[str, Any], known: tuple[str, ...], *at: str) -> None:
        for key in table:
            if key not in known:
                from difflib import get_close_matches

                meant = get_close_matches(key, known, n=1)
                hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(known)}"
                raise PreconditionFailed(f"{self._where(*at, key)}: there is no setting {key!r}; {hint}")

    def image(self, table: Mapping[str, Any], *at: str) -> str | None:
        image = table.get("image")
        if image is None:
            return None
        if not isinstance(image, str) or not is_reference(image):
            self.refuse("must name an image", '"registry.example/name:tag"', *at, "image")
        return image

    def refuse(self, sentence: str, example: str, *at: str) -> NoReturn:
        raise PreconditionFailed(f"{self._where(*at)}: {at[-1]} {sentence}, such as {example}")

    def _where(self, *at: str) -> str:
        return f"{self.path}, line {line_of(self.text, at)}"


def line_of(text: str, at: tuple[str, ...]) -> int:
    """PURE: the line, counted from 1, on which the statement begins that first mentions the key `at`.

    The library tells no positions of what it understood: so it is the line behind the last place at which
    the text could have ended and not have the key. For a key that is nowhere, the last statement's.
    """
    import tomllib

    lines, begins = text.splitlines(keepends=True), 1
    for end in range(len(lines) + 1):
        try:
            found: Any = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        for key in at:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            return begins
        begins = end + 1
    return begins
