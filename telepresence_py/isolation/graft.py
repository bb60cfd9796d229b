"""PURE. Decides how directories and files come to paths that the laptop may not have, nor let us make.

The laptop's tree is not ours to change and no overlay works everywhere, so a missing path is made thus:

- its deepest existing directory belongs to somebody else: that directory is covered by a tmpfs into which all
  its entries are bound again (`Cover`); the missing path is made in the tmpfs. For `/` that is a new root.
  The price: what the laptop creates in the covered directory itself later is not seen inside.
- the user may write there (/tmp, home, a checkout): covering would take that away, so an empty directory or
  file is made on the laptop, mounted over inside, and removed at the end (`MakeOnLaptop`).

A path that exists is simply mounted over; only inside. Rules: covers come first, shallow before deep; then
mounts, shallow before deep, so that a volume inside a volume finds its mount point in the outer one; then
everything that shall be read-only is sealed; at last what is there is shown once more below a prefix.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from telepresence_py.model.world import NetworkView


class Target(NamedTuple):
    """Something to be at `path`: a volume (directory) or a file with given contents, or the prefix below
    which volumes are shown. One `live` is served by the session. `place` is where the pod's path is: as it
    is, below the prefix as well, or below the prefix alone."""

    path: str
    kind: Literal["volume", "file", "prefix"]
    read_only: bool = True
    live: bool = False
    place: Literal["own", "both", "below"] = "own"


class Found(NamedTuple):
    """The laptop's side of a path. `real` is it without symbolic links; `existing` is the deepest part of
    `real` that exists, a directory or not; `writable` and `occupied` say whether the user may create entries
    in it, and whether it has some."""

    real: str
    existing: str
    is_directory: bool
    writable: bool
    occupied: bool = False


class Cover(NamedTuple):
    """A tmpfs over `directory` with its entries bound again, but for those in `without`."""

    directory: str
    without: frozenset[str] = frozenset()


class Hide(NamedTuple):
    """An empty tmpfs over an existing directory."""

    directory: str


class Make(NamedTuple):
    """A mount point (with parents) inside something that is ours."""

    path: str
    is_directory: bool


class MakeOnLaptop(NamedTuple):
    """A mount point (with parents) in the laptop's own tree, to be removed at the end."""

    path: str
    is_directory: bool


class MountVolume(NamedTuple):
    """A tmpfs of its own at `real`, or a mount that the session serves; known to it as `path`."""

    path: str
    real: str
    writable: bool
    live: bool = False


class MountFile(NamedTuple):
    """The contents given for `path`, bound to `real`."""

    path: str
    real: str


class MountPrefix(NamedTuple):
    """An empty tmpfs that holds mount points for what is shown below it."""

    real: str


class Show(NamedTuple):
    """What is mounted at `real`, with all that is mounted in it, is at `below`, too."""

    real: str
    below: str


class Seal(NamedTuple):
    """From now on read-only. A volume is sealed by one more mount above it, since the mount below is the one
    that the session writes through."""

    directory: str
    is_volume: bool


Mounting = Cover | Hide | Make | MakeOnLaptop | MountVolume | MountFile | MountPrefix | Show | Seal


class Graft(NamedTuple):
    """`steps` in their order; `notices` are sentences about what the user might not expect."""

    steps: tuple[Mounting, ...]
    notices: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files that are mounted, as they were asked for."""
        return tuple(step.path for step in self.steps if isinstance(step, MountFile))


def targets_of(view: NetworkView) -> list[Target]:
    """What the view wants at which paths."""

    def place(path: str) -> Literal["own", "both", "below"]:
        if path in view.below_prefix:
            return "below"
        return "both" if view.prefix else "own"

    targets = [
        Target(
            path,
            "volume",
            path not in view.writable_volume_paths,
            path in view.live_volume_paths,
            place(path),
        )
        for path in view.volume_paths
    ]
    targets += [Target(path, "file", place=place(path)) for path in view.volume_files]
    targets += [Target(path, "file") for path in view.files if path not in view.volume_files]
    return [*targets, Target(view.prefix, "prefix")] if view.prefix else targets


_KERNELS_OWN = ("/proc", "/sys")


def plan(targets: Iterable[Target], found: Mapping[str, Found], hidden: Iterable[str] = ()) -> Graft:
    """`found` has an entry for each target's path; `hidden` are existing directories, links resolved."""
    notices = []
    chosen = []
    targets = tuple(targets)
    prefix = next((found[target.path].real for target in targets if target.kind == "prefix"), "")
    found = {target.path: _found(target, found, prefix) for target in targets}
    for target in sorted(targets, key=lambda target: _depth(found[target.path].real)):
        real = found[target.path].real
        if any(_is_within(real, own) for own in _KERNELS_OWN) or real == "/":
            notices.append(
                f"{target.path} of the pod is not shown to the command: it lies in the kernel's own tree"
            )
        else:
            chosen.append(target)
    hides = [Hide(directory) for directory in sorted(set(hidden), key=_depth)]
    mounted = [hide.directory for hide in hides]
    covers: dict[str, set[str]] = {}
    makes: list[Mounting] = []
    mounts: list[Mounting] = []
    for target in chosen:
        at = found[target.path]
        makes_here = _mount_point(target, at, mounted, covers)
        if isinstance(makes_here, MakeOnLaptop):
            makes.append(makes_here)
        elif makes_here is not None:
            mounts.append(makes_here)
        if target.kind == "volume":
            if at.real == at.existing and at.is_directory and at.occupied:
                notices.append(
                    f"the pod's volume {target.path} stands before the laptop's own directory for the command"
                )
            mounts.append(MountVolume(target.path, at.real, not target.read_only, target.live))
            mounted.append(at.real)
        elif target.kind == "prefix":
            mounts.append(MountPrefix(at.real))
            mounted.append(at.real)
        else:
            mounts.append(MountFile(target.path, at.real))
    seals: list[Mounting] = [
        Seal(mount.real, True)
        for mount in mounts
        if isinstance(mount, MountVolume) and not mount.writable and not mount.live
    ]
    seals += _shown(chosen, found, prefix)
    ordered = sorted(covers, key=_depth)
    seals += [
        Seal(directory, False) for directory in [*(hide.directory for hide in hides), *reversed(ordered)]
    ]
    first = [Cover(directory, frozenset(covers[directory])) for directory in ordered]
    return Graft((*first, *makes, *hides, *mounts, *seals), tuple(notices))


def _found(target: Target, found: Mapping[str, Found], prefix: str) -> Found:
    """What is below the prefix alone has its mount point made there."""
    if target.place != "below":
        return found[target.path]
    return Found(_below(prefix, target.path), prefix, True, True)


def _below(prefix: str, path: str) -> str:
    return prefix + posixpath.normpath("/" + path.lstrip("/"))


def _shown(chosen: Iterable[Target], found: Mapping[str, Found], prefix: str) -> list[Mounting]:
    """The volumes once more below the prefix, nested ones with the outermost; then it is sealed itself."""
    steps: list[Mounting] = []
    outer: list[str] = []
    for target in (one for one in chosen if one.place == "both"):
        real = found[target.path].real
        if not any(_is_within(real, other) for other in outer):
            below = _below(prefix, target.path)
            steps += [Make(below, target.kind == "volume"), Show(real, below)]
        if target.kind == "volume":
            outer.append(real)
    return [*steps, Seal(prefix, False)] if prefix else []


def _mount_point(
    target: Target, at: Found, mounted: list[str], covers: dict[str, set[str]]
) -> Make | MakeOnLaptop | None:
    """What has to be made before the target can be mounted; adds to `covers` what must be covered for it."""
    is_directory = target.kind != "file"
    if any(_is_within(at.real, mount) and at.real != mount for mount in mounted):
        return Make(at.real, is_directory)
    if at.existing == at.real and at.is_directory == is_directory:
        return None
    if at.is_directory and at.existing != at.real:
        if at.writable:
            return MakeOnLaptop(at.real, is_directory)
        covers.setdefault(at.existing, set())
        return Make(at.real, is_directory)
    # the laptop has a file where the pod has a directory, or the other way round: it must give way
    parent, name = posixpath.split(at.existing)
    covers.setdefault(parent, set()).add(name)
    return Make(at.real, is_directory)


def _depth(path: str) -> tuple[int, str]:
    return path.rstrip("/").count("/"), path


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
