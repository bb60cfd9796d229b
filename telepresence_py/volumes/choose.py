"""PURE: which of the container's mounts the child gets as a copy, which ones stay in the pod and are worked
on there (live), and why it does not get the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from telepresence_py.model.network import Mount

MOST_BYTES = 64 << 20
MOST_FILES = 5000
"""Of one volume. More than that is not copied: the pod refuses it, and `volumes/unpack.py` stops at it."""

RENEWED_KINDS = frozenset({"configMap", "secret", "projected", "downwardAPI"})
"""Those that the kubelet renews in a running pod. They are copied, for a copy can be watched (inotify)."""

KERNELS_TREES = ("/dev", "/proc", "/sys")

_SYSTEM_DIRECTORIES_TEXT = """
/ /bin /boot /etc /home /lib /lib32 /lib64 /root /run /sbin /tmp
/usr /usr/bin /usr/lib /usr/lib64 /usr/libexec /usr/local /usr/local/bin /usr/local/lib /usr/sbin /usr/share
/var /var/lib /var/run /var/tmp
"""
SYSTEM_DIRECTORIES = frozenset(_SYSTEM_DIRECTORIES_TEXT.split())
"""A mount exactly here would hide what the child's own program, shell or editor lives on."""


@dataclass(frozen=True)
class Skipped:
    """A mount that the child does not get. `reason` completes "<path> is not there: "."""

    mount: Mount
    reason: str


@dataclass(frozen=True)
class VolumeChoice:
    """Every mount of the container is in one of the three, in the pod's order, but those that are to be
    off. `below` are paths of the first two that are not shown there, but below a prefix alone."""

    copied: tuple[Mount, ...]
    live: tuple[Mount, ...]
    skipped: tuple[Skipped, ...]
    below: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Wishes:
    """`ways` has "copy", "live" or "off" for paths of mounts. Without a way what is renewed is copied, and
    all else is live; where `no_live`, a clause, says why nothing can be, an emptyDir is copied instead.
    With `prefixed` what cannot be at its own path is below a prefix."""

    ways: Mapping[str, str] = field(default_factory=dict)
    no_live: str | None = None
    prefixed: bool = False


def choose(
    mounts: Iterable[Mount], laptop_paths: Iterable[str] = (), wishes: Wishes | None = None
) -> VolumeChoice:
    """Decides each mount by its kind and path.

    `laptop_paths` are absolute paths that the child needs from the laptop (working directory, home, the
    directory of the command): a mount that would hide one of them is skipped.
    """
    wishes = wishes or Wishes()
    needed = tuple(PurePosixPath(path) for path in laptop_paths)
    copied: list[Mount] = []
    live: list[Mount] = []
    skipped: list[Skipped] = []
    below: set[str] = set()
    for mount in mounts:
        way = wishes.ways.get(clean(mount.path)) or default_way(mount, wishes.no_live)
        reason = _reason_to_skip(mount, needed)
        if reason is not None and wishes.prefixed and _can_be_below(mount):
            reason = None
            below.add(mount.path)
        if way == "live" and wishes.no_live:
            reason = reason or f"it can only be shown live, and {wishes.no_live}"
        if way == "off":
            continue
        if reason is not None:
            skipped.append(Skipped(mount, reason))
        else:
            (live if way == "live" else copied).append(mount)
    shown = {mount.path for mount in (*copied, *live)}
    return VolumeChoice(tuple(copied), tuple(live), tuple(skipped), frozenset(below & shown))


def default_way(mount: Mount, no_live: str | None = None) -> str:
    if mount.kind in RENEWED_KINDS or (no_live and mount.kind == "emptyDir"):
        return "copy"
    return "live"


def clean(path: str) -> str:
    """The path as it is compared: without a slash at its end."""
    return path.rstrip("/") or "/"


def is_renewed(mount: Mount) -> bool:
    """Whether its content changes in the pod as the cluster's objects do. That of a subPath never does."""
    return mount.kind in RENEWED_KINDS and not mount.sub_path


def _can_be_below(mount: Mount) -> bool:
    path = PurePosixPath(mount.path)
    return path.is_absolute() and ".." not in path.parts and path != PurePosixPath("/")


def why_not_there(path: str, laptop_paths: Iterable[str]) -> str | None:
    """A clause on what of the laptop's would be hidden by what is put at that path; None for nothing."""
    return _hides(PurePosixPath(path), tuple(map(PurePosixPath, laptop_paths)))


def _reason_to_skip(mount: Mount, needed: tuple[PurePosixPath, ...]) -> str | None:
    path = PurePosixPath(mount.path)
    if not path.is_absolute() or ".." in path.parts:
        return "its path in the pod is not an absolute one"
    return _hides(path, needed)


def _hides(path: PurePosixPath, needed: tuple[PurePosixPath, ...]) -> str | None:
    if any(path.is_relative_to(tree) for tree in KERNELS_TREES):
        return "the laptop's kernel serves that path"
    if str(path) in SYSTEM_DIRECTORIES:
        return "it would hide the laptop's own directory, which your command needs"
    hidden = next((there for there in needed if there.is_relative_to(path)), None)
    if hidden is not None:
        return f"it would hide {hidden}, which your command needs"
    return None
