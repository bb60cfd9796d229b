"""`sidecar build | load | image`: the image made from what is installed, by whichever builder works."""

from __future__ import annotations

import os
import platform as machine
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from telepresence_py.cli.pip_settings import CONF_PATH, PipSettings, pip_settings, with_mounts
from telepresence_py.cli.render import Screen
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Level
from telepresence_py.model.image import DEFAULT_IMAGE

_CLUSTER_SOCKETS = "telepresence-py-cluster*/node*/containerd.sock"
_DOCKERFILE = "Dockerfile.sidecar"
_PACKAGE = "telepresence_sidecar"
_MOUNTED = "pip"
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}


@dataclass(frozen=True)
class Builder:
    """A container tool that answers."""

    name: str

    @property
    def takes_volumes(self) -> bool:
        return self.name != "docker"

    def build(self, image: str, platform: str, extra: Sequence[str], context: Path) -> list[str]:
        verb = ["bud", "--layers"] if self.name == "buildah" else ["build"]
        # the host's network: pip inside reaches what pip outside reaches, a proxy on localhost too
        where = ["--network", "host", "--platform", platform]
        what = ["-f", str(context / _DOCKERFILE), "-t", image]
        return [self.name, *verb, *where, *what, *extra, str(context)]

    def save(self, image: str, archive: Path) -> list[str]:
        match self.name:
            case "buildah":
                return ["buildah", "push", "-q", image, f"docker-archive:{archive}:{image}"]
            case "podman":
                return ["podman", "save", "-q", "--format", "docker-archive", "-o", str(archive), image]
            case _:
                return ["docker", "save", "-o", str(archive), image]


def default_image() -> str:
    return DEFAULT_IMAGE


def this_platform() -> str:
    name = machine.machine()
    return f"linux/{_ARCHITECTURES.get(name, name)}"


def build_image(screen: Screen, image: str | None, platform: str) -> None:
    """Build the image under the name `image` or this version's; PreconditionFailed when that fails."""
    reference = image or DEFAULT_IMAGE
    builder = _working_builder()
    screen.say(f"building {reference} for {platform} by {builder.name}", Level.STEP)
    with tempfile.TemporaryDirectory(prefix="telepresence-py-") as directory, ExitStack() as stack:
        context = Path(directory)
        sources = stack.enter_context(as_file(files(_PACKAGE)))
        _lay_out(context, sources)
        extra = _pass_pip_settings(screen, builder, context, pip_settings(os.environ))
        _run(screen, builder.build(reference, platform, extra, context), f"building {reference}")
    screen.say(f"built {reference}", Level.NOTICE)


def load_image(screen: Screen, image: str | None) -> None:
    """Import the image on all nodes of this project's own cluster; PreconditionFailed without either."""
    reference = image or DEFAULT_IMAGE
    sockets = sorted(Path("/run").glob(_CLUSTER_SOCKETS))
    if not sockets:
        raise PreconditionFailed(
            "this project's own cluster is not up; start it by integration/cluster/cluster up, or push the "
            "image to a registry of your cluster and name it by --image"
        )
    if not os.access(sockets[0], os.W_OK):
        raise PreconditionFailed(
            "the nodes of this project's own cluster belong to root; run this command as root"
        )
    builder = _working_builder()
    with tempfile.TemporaryDirectory(prefix="telepresence-py-") as directory:
        archive = Path(directory, "image.tar")
        _run(
            screen,
            builder.save(reference, archive),
            f"reading {reference} (telepresence-py sidecar build makes it)",
        )
        for socket in sockets:
            screen.say(f"loading {reference} on {socket.parent.name}", Level.STEP)
            command = ["ctr", "-a", str(socket), "-n", "k8s.io", "images", "import", str(archive)]
            _run(screen, command, f"loading {reference} on {socket.parent.name}")
    screen.say(f"loaded {reference} on {len(sockets)} nodes", Level.NOTICE)


def _working_builder() -> Builder:
    """The first that answers: a docker client without its daemon does not."""
    present = [name for name in ("docker", "podman", "buildah") if shutil.which(name)]
    for name in present:
        if subprocess.run([name, "version"], capture_output=True, check=False).returncode == 0:
            return Builder(name)
    found = f"{' and '.join(present)} does not answer" if present else "none is installed"
    raise PreconditionFailed(
        f"docker, podman or buildah is needed to make the image, and {found}; install one of them"
    )


def _lay_out(context: Path, sources: Path) -> None:
    """The build context is laid out as the repository is: what the Dockerfile copies has the same path."""
    ignored = shutil.ignore_patterns("__pycache__", _DOCKERFILE)
    shutil.copytree(sources, context / "sidecar" / _PACKAGE, ignore=ignored)
    in_wheel, in_checkout = sources / _DOCKERFILE, sources.parent.parent / _DOCKERFILE
    dockerfile = in_wheel if in_wheel.exists() else in_checkout
    if not dockerfile.exists():
        raise PreconditionFailed(f"{_DOCKERFILE} is missing beside {sources}; install telepresence-py again")
    shutil.copy(dockerfile, context / _DOCKERFILE)


def _pass_pip_settings(screen: Screen, builder: Builder, context: Path, settings: PipSettings) -> list[str]:
    """Arguments that show pip's settings, and the files they name, to the build but not to the image."""
    if not settings.options:
        return []
    (context / _MOUNTED).mkdir()
    paths = sorted(word for word in settings.words if os.path.exists(word))
    if builder.takes_volumes:
        conf = context / _MOUNTED / "pip.conf"
        conf.write_text(settings.conf())
        volumes = {CONF_PATH: str(conf), **{path: os.path.realpath(path) for path in paths}}
        return [word for inside, path in volumes.items() for word in ("-v", f"{path}:{inside}:ro")]
    mounts, moved = {CONF_PATH: f"{_MOUNTED}/pip.conf"}, {}
    for number, path in enumerate(paths):
        if os.path.isdir(path):
            screen.say(
                f"pip in the image cannot see the directory {path}, as {builder.name} takes no volumes"
            )
            continue
        shutil.copy(path, context / _MOUNTED / str(number))
        moved[path] = f"/run/{_MOUNTED}-{number}"
        mounts[moved[path]] = f"{_MOUNTED}/{number}"
    (context / _MOUNTED / "pip.conf").write_text(settings.conf(moved))
    dockerfile = context / _DOCKERFILE
    dockerfile.write_text(with_mounts(dockerfile.read_text(), mounts))
    return []


def _run(screen: Screen, command: Sequence[str], purpose: str) -> None:
    """Run a container tool; its output is shown when it fails, and with --verbose."""
    environment = {**os.environ}
    # needs neither a user's session nor privileges, so it works in containers too
    environment.setdefault("BUILDAH_ISOLATION", "chroot")
    output: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            screen.say(line.rstrip(), Level.DETAIL)
    if process.returncode != 0:
        tail = "".join(f"\n  | {line.rstrip()}" for line in output[-15:])
        raise PreconditionFailed(f"{purpose} failed: {command[0]} ended with code {process.returncode}{tail}")
