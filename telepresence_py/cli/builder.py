"""docker, podman and buildah: which of them works here, how each is asked, and what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from telepresence_py.cli.render import Screen
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Level

_NAMES = ("docker", "podman", "buildah")
_TAIL_LINES = 15
# chroot needs neither a user's session nor privileges, so it works in containers too; an attestation is a
# second manifest, which importers of archives look for in vain
_ENVIRONMENT = {"BUILDAH_ISOLATION": "chroot", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Builder:
    """A container tool; its methods are command lines."""

    name: str

    @property
    def is_docker(self) -> bool:
        return self.name == "docker"

    def build(self, image: str, platform: str, dockerfile: Path, extra: Sequence[str]) -> list[str]:
        """`image` from `dockerfile`, whose directory is the context."""
        verb = ["bud", "--layers"] if self.name == "buildah" else ["build"]
        # the host's network: pip inside reaches what pip outside reaches, a proxy on localhost too
        where = ["--network", "host", "--platform", platform]
        return [self.name, *verb, *where, "-f", str(dockerfile), "-t", image, *extra, str(dockerfile.parent)]

    def platform(self, image: str) -> list[str]:
        """Prints OS/ARCH of an image that is here; fails when it is not."""
        if self.name == "buildah":
            form = "{{.OCIv1.OS}}/{{.OCIv1.Architecture}}"
            return ["buildah", "inspect", "--type", "image", "--format", form, image]
        return [self.name, "image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", image]

    def save(self, image: str, archive: Path) -> list[str]:
        match self.name:
            case "buildah":
                return ["buildah", "push", "-q", image, f"docker-archive:{archive}:{image}"]
            case "podman":
                return ["podman", "save", "-q", "--format", "docker-archive", "-o", str(archive), image]
            case _:
                return ["docker", "save", "-o", str(archive), image]

    def push(self, image: str, reference: str, how: PushSettings) -> list[list[str]]:
        """The digest is in `how.digest_file`, or in what the last of the commands prints."""
        if self.is_docker:
            return [["docker", "tag", image, reference], ["docker", "push", reference]]
        return [[self.name, "push", *how.options(), image, f"docker://{reference}"]]

    def push_list(self, images: Mapping[str, str], reference: str, how: PushSettings) -> list[list[str]]:
        """A manifest list of the images, whose keys are their platforms; the digest as with `push`."""
        if self.is_docker:
            # docker makes lists of what is in the registry already
            parts = {f"{reference}-{platform.replace('/', '-')}": image for platform, image in images.items()}
            pushes = [command for part, image in parts.items() for command in self.push(image, part, how)]
            create = ["docker", "manifest", "create", "--amend", reference, *parts]
            return [*pushes, create, ["docker", "manifest", "push", "--purge", reference]]
        name, sources = list_name(images), [f"containers-storage:{image}" for image in images.values()]
        push = [self.name, "manifest", "push", "--all", "--format", "oci", *how.options()]
        return [
            [self.name, "manifest", "create", name, *sources],
            [*push, name, f"docker://{reference}"],
        ]

    def remove_list(self, images: Mapping[str, str]) -> list[str] | None:
        """Takes away the list that `push_list` leaves in the tool's own storage, if it does."""
        return None if self.is_docker else [self.name, "manifest", "rm", list_name(images)]


@dataclass(frozen=True)
class PushSettings:
    """`tls` False is for a registry that speaks plain HTTP, or has a certificate that nobody can check."""

    digest_file: Path
    tls: bool = True

    def options(self) -> list[str]:
        return ["--digestfile", str(self.digest_file), *([] if self.tls else ["--tls-verify=false"])]


@dataclass(frozen=True)
class Said:
    """How a tool ended, and the lines it printed."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class ToolFailed(PreconditionFailed):
    """A container tool ended with an error; the sentence has the last lines of what it said."""

    def __init__(self, purpose: str, tool: str, said: Said) -> None:
        tail = "".join(f"\n  | {line}" for line in said.lines[-_TAIL_LINES:])
        super().__init__(f"{purpose} failed: {tool} ended with code {said.code}{tail}")
        self.said = said


def list_name(images: Mapping[str, str]) -> str:
    return f"{next(iter(images.values()))}-and-others"


def working_builders() -> Iterator[Builder]:
    """Those that answer, the first first: a docker client without its daemon does not."""
    for name in _NAMES:
        if shutil.which(name) and ask_tool([name, "version"]).code == 0:
            yield Builder(name)


def working_builder() -> Builder:
    """The first that answers; PreconditionFailed when none does."""
    for builder in working_builders():
        return builder
    present = [name for name in _NAMES if shutil.which(name)]
    found = f"{' and '.join(present)} does not answer" if present else "none is installed"
    raise PreconditionFailed(
        f"docker, podman or buildah is needed to make the image, and {found}; install one of them"
    )


def ask_tool(command: Sequence[str]) -> Said:
    """What the tool prints, or when it fails what it complains of; shown nowhere."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=_environment(),
        text=True,
        errors="replace",
        check=False,
    )
    return Said(done.returncode, tuple((done.stderr if done.returncode else done.stdout).splitlines()))


def run_tool(screen: Screen, command: Sequence[str], purpose: str) -> Said:
    """Run a tool whose lines are shown with --verbose; ToolFailed when it fails."""
    lines: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            screen.say(lines[-1], Level.DETAIL)
    said = Said(process.returncode, tuple(lines))
    if said.code != 0:
        raise ToolFailed(purpose, command[0], said)
    return said


def digest_in(text: str) -> str | None:
    """The last digest in the text."""
    found = _DIGEST.findall(text)
    return found[-1] if found else None


def _environment() -> dict[str, str]:
    return {**_ENVIRONMENT, **os.environ}
