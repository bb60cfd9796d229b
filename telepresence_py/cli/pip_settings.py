"""What pip is told by its environment, so that pip inside an image's build can be told the same. Pure.

Every variable PIP_<OPTION> means what `option = value` means in a pip.conf (pip's "Configuration" page). A
pip.conf that is mounted for the build alone leaves nothing in the image or its history, be it a mirror's
address, a password in it, or a certificate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

CONF_PATH = "/etc/pip.conf"
"""Where pip looks for settings of all users; Debian's pip and that of the python images alike."""

_PREFIX = "PIP_"
# where to find a configuration says nothing inside; this one is about the laptop's own interpreter
_OF_THE_LAPTOP = frozenset({"PIP_CONFIG_FILE", "PIP_REQUIRE_VIRTUALENV", "PIP_PYTHON", "PIP_CACHE_DIR"})
_RUN = re.compile(r"^RUN\s+", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class PipSettings:
    """`options` as in a pip.conf. Values that name a file or directory of the laptop are kept as they are:
    `words` are those that may."""

    options: dict[str, str]

    @property
    def words(self) -> frozenset[str]:
        """Absolute paths among the values; whether they exist is for the caller to see."""
        found = (word.removeprefix("file://") for value in self.options.values() for word in value.split())
        return frozenset(word for word in found if word.startswith("/"))

    def conf(self, moved: Mapping[str, str] | None = None) -> str:
        """The text of a pip.conf; `moved` maps paths to where they are inside the build."""
        lines = ["[global]"]
        for option, value in self.options.items():
            first, *others = [(moved or {}).get(word, word) for word in value.split()]
            # a switch must stand on its option's own line; of a list the rest goes on below
            lines += [f"{option} = {first}", *(f"    {word}" for word in others)]
        return "\n".join(lines) + "\n"


def pip_settings(environment: Mapping[str, str]) -> PipSettings:
    """The settings of all PIP_ variables that are about where packages come from and how."""
    options = {
        name.removeprefix(_PREFIX).lower().replace("_", "-"): value
        for name, value in sorted(environment.items())
        if name.startswith(_PREFIX) and value.strip() and name not in _OF_THE_LAPTOP
    }
    return PipSettings(options)


def with_mounts(dockerfile: str, mounts: Mapping[str, str]) -> str:
    """The Dockerfile, its RUN steps seeing files of the context; `mounts` maps paths inside to their sources.

    For builders that take no volumes (docker): BuildKit's `RUN --mount=type=bind`.
    """
    options = "".join(f"--mount=type=bind,source={source},target={path} " for path, source in mounts.items())
    return _RUN.sub(f"RUN {options}", dockerfile)
