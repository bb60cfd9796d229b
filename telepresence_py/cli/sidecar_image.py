"""`sidecar build | save`: the image made from what is installed, and the one that is here already."""

from __future__ import annotations

import os
import platform as machine
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

from telepresence_py.cli.builder import Builder, ask_tool, run_tool, working_builder, working_builders
from telepresence_py.cli.pip_settings import CONF_PATH, PipSettings, pip_settings, with_mounts
from telepresence_py.cli.render import Screen
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Level
from telepresence_py.model.image import DEFAULT_IMAGE

_DOCKERFILE = "Dockerfile.sidecar"
_PACKAGE = "telepresence_sidecar"
_MOUNTED = "pip"
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
"""Those that the kernel and container images name; a processor of one does not run another's programs."""


def this_platform() -> str:
    name = machine.machine()
    return f"linux/{_ARCHITECTURES.get(name, name)}"


def name_for(platform: str) -> str:
    """This version's image for one platform, beside those for others."""
    return f"{DEFAULT_IMAGE}-{platform.replace('/', '-')}"


def build_image(screen: Screen, reference: str, platform: str) -> Builder:
    """Build the image under that name, by the first tool that answers; PreconditionFailed when that fails."""
    builder = working_builder()
    _require_emulation(builder, platform)
    screen.say(f"building {reference} for {platform} by {builder.name}", Level.STEP)
    with tempfile.TemporaryDirectory(prefix="telepresence-py-") as directory, ExitStack() as stack:
        context = Path(directory)
        sources = stack.enter_context(as_file(files(_PACKAGE)))
        _lay_out(context, sources)
        extra = _pass_pip_settings(screen, builder, context, pip_settings(os.environ))
        command = builder.build(reference, platform, context / _DOCKERFILE, extra)
        run_tool(screen, command, f"building {reference}")
    screen.say(f"built {reference}", Level.NOTICE)
    return builder


def platform_here(builder: Builder, reference: str) -> str | None:
    """OS/ARCH of the image in the tool's storage; None when it is not there."""
    said = ask_tool(builder.platform(reference))
    return said.text.strip() if said.code == 0 else None


def image_here(screen: Screen, reference: str, platform: str) -> Builder:
    """The tool that has the image for that platform; this version's is built when none has it.

    PreconditionFailed when another name's is not here, or for another platform.
    """
    found = [(builder, platform_here(builder, reference)) for builder in working_builders()]
    for builder, its_platform in found:
        if its_platform == _without_variant(platform):
            return builder
    if reference == DEFAULT_IMAGE:
        return build_image(screen, reference, platform)
    working_builder()  # or the want of one is the reason
    others = [its_platform for _builder, its_platform in found if its_platform is not None]
    if others:
        raise PreconditionFailed(
            f"the image {reference} that is here is for {' and '.join(others)}, and {platform} is needed; "
            "build it again with --platform"
        )
    raise PreconditionFailed(
        f"there is no image {reference} here; telepresence-py sidecar build --image {reference} makes it"
    )


def images_here(screen: Screen, platforms: Sequence[str]) -> tuple[Builder, dict[str, str]]:
    """This version's image for each platform, all in the storage of one tool; what is missing is built.

    PreconditionFailed before anything is built when one of them cannot be.
    """
    if len(platforms) == 1:
        return image_here(screen, DEFAULT_IMAGE, platforms[0]), {platforms[0]: DEFAULT_IMAGE}
    builder, images = working_builder(), {platform: name_for(platform) for platform in platforms}
    missing = [
        platform
        for platform, image in images.items()
        if platform_here(builder, image) != _without_variant(platform)
    ]
    for platform in missing:
        _require_emulation(builder, platform)
    for platform in missing:
        build_image(screen, images[platform], platform)
    return builder, images


def save_image(screen: Screen, reference: str, platform: str, path: Path) -> None:
    """Write the image to a file as a docker-archive, which every runtime and tool reads.

    The file is there whole or not at all; a save that was killed leaves FILE.partial, which the next one
    replaces. PreconditionFailed when it cannot be written.
    """
    file = _file_to_write(path)
    builder = image_here(screen, reference, platform)
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)  # a builder may add to what is there, or refuse to
    try:
        write_archive(screen, builder, reference, partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    megabytes = file.stat().st_size / 1e6
    screen.say(f"saved {reference} for {platform} in {path} ({megabytes:.0f} MB)", Level.NOTICE)


def _file_to_write(path: Path) -> Path:
    """The file itself, where the path is a link to it."""
    try:
        file = path.resolve()
        if (file.is_file() or not file.exists()) and os.access(file.parent, os.W_OK):
            return file
    except OSError:
        pass  # the working directory is gone
    raise PreconditionFailed(f"cannot write {path}: name a file in a directory that you may write")


def write_archive(screen: Screen, builder: Builder, reference: str, archive: Path) -> None:
    """The image as a docker-archive, a file that must not be there yet."""
    run_tool(screen, builder.save(reference, archive), f"saving {reference}")


def _without_variant(platform: str) -> str:
    return "/".join(platform.split("/")[:2])


def _require_emulation(builder: Builder, platform: str) -> None:
    """Steps of the build are programs of that platform. docker's daemon may run elsewhere, and says so."""
    known = {architecture: name for name, architecture in _ARCHITECTURES.items()}
    wanted, own = platform.split("/")[1], this_platform().split("/")[1]
    if builder.is_docker or wanted == own or not {wanted, own} <= known.keys():
        return
    if not list(_BINFMT.glob(f"*{known[wanted]}*")):
        raise PreconditionFailed(
            f"programs of {platform} do not run on this {this_platform()} machine, so the image cannot be "
            "built here: install qemu-user-static, which emulates them, or build it on such a machine"
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
    if not builder.is_docker:
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
