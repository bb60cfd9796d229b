from __future__ import annotations

import pytest

from telepresence_py.isolation.graft import (
    Cover,
    Found,
    Hide,
    Make,
    MakeOnLaptop,
    MountFile,
    Mounting,
    MountPrefix,
    MountVolume,
    Seal,
    Show,
    Target,
    plan,
)


def missing_below(real: str, existing: str, writable: bool = False) -> Found:
    return Found(real, existing, is_directory=True, writable=writable)


def directory(real: str, occupied: bool = False) -> Found:
    return Found(real, real, is_directory=True, writable=False, occupied=occupied)


def file(real: str) -> Found:
    return Found(real, real, is_directory=False, writable=False)


def steps(targets: list[Target], *found: Found, hidden: tuple[str, ...] = ()) -> list[Mounting]:
    by_path = {target.path: each for target, each in zip(targets, found, strict=True)}
    return list(plan(targets, by_path, hidden).steps)


def volume(path: str, read_only: bool = True) -> Target:
    return Target(path, "volume", read_only)


def test_an_existing_directory_is_mounted_over_and_sealed() -> None:
    assert steps([volume("/data")], directory("/data")) == [
        MountVolume("/data", "/data", writable=False),
        Seal("/data", is_volume=True),
    ]


def test_a_writable_volume_is_not_sealed() -> None:
    assert steps([volume("/data", read_only=False)], directory("/data")) == [
        MountVolume("/data", "/data", writable=True)
    ]


def test_a_volume_is_mounted_where_symbolic_links_lead() -> None:
    made = steps([volume("/var/run/x")], directory("/run/x"))
    assert made[0] == MountVolume("/var/run/x", "/run/x", writable=False)


def test_a_missing_path_below_a_system_directory_covers_that_directory_until_all_is_mounted() -> None:
    assert steps([volume("/etc/a/b")], missing_below("/etc/a/b", "/etc")) == [
        Cover("/etc"),
        Make("/etc/a/b", is_directory=True),
        MountVolume("/etc/a/b", "/etc/a/b", writable=False),
        Seal("/etc/a/b", is_volume=True),
        Seal("/etc", is_volume=False),
    ]


def test_the_root_is_covered_first_and_sealed_last_whatever_the_order_of_the_volumes() -> None:
    targets = [volume("/etc/x"), volume("/data/deep/er")]
    made = steps(targets, missing_below("/etc/x", "/etc"), missing_below("/data/deep/er", "/"))
    assert made[:2] == [Cover("/"), Cover("/etc")]
    assert made[-2:] == [Seal("/etc", is_volume=False), Seal("/", is_volume=False)]


def test_a_missing_path_where_the_user_may_write_is_made_on_the_laptop() -> None:
    assert steps([volume("/tmp/x", read_only=False)], missing_below("/tmp/x", "/tmp", writable=True)) == [
        MakeOnLaptop("/tmp/x", is_directory=True),
        MountVolume("/tmp/x", "/tmp/x", writable=True),
    ]


def test_a_volume_inside_a_volume_comes_after_it_and_needs_nothing_of_the_laptop() -> None:
    targets = [volume("/data/a/b", read_only=False), volume("/data", read_only=False)]
    # the laptop happens to have the inner path: that one is hidden by the outer volume
    assert steps(targets, directory("/data/a/b"), directory("/data")) == [
        MountVolume("/data", "/data", writable=True),
        Make("/data/a/b", is_directory=True),
        MountVolume("/data/a/b", "/data/a/b", writable=True),
    ]


def test_a_file_inside_a_hidden_directory_is_made_there() -> None:
    """resolv.conf is often a link to the directory of a daemon that must not answer."""
    stub = "/run/systemd/resolve/stub-resolv.conf"
    assert steps([Target("/etc/resolv.conf", "file")], file(stub), hidden=("/run/systemd/resolve",)) == [
        Hide("/run/systemd/resolve"),
        Make(stub, is_directory=False),
        MountFile("/etc/resolv.conf", stub),
        Seal("/run/systemd/resolve", is_volume=False),
    ]


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (volume("/etc/name"), file("/etc/name")),
        (
            volume("/etc/name/deeper"),
            Found("/etc/name/deeper", "/etc/name", False, False),
        ),
        (Target("/etc/name", "file"), directory("/etc/name")),
    ],
)
def test_what_is_of_the_other_kind_on_the_laptop_gives_way(target: Target, found: Found) -> None:
    assert steps([target], found)[:2] == [
        Cover("/etc", frozenset({"name"})),
        Make(found.real, is_directory=target.kind == "volume"),
    ]


@pytest.mark.parametrize("path", ["/proc/x", "/sys/fs/x", "/"])
def test_the_kernels_own_trees_are_left_alone_and_that_is_said(path: str) -> None:
    made = plan([volume(path)], {path: directory(path)})
    assert made.steps == ()
    assert path in made.notices[0]


def test_covering_something_of_the_laptops_is_said() -> None:
    assert "/data" in plan([volume("/data")], {"/data": directory("/data", occupied=True)}).notices[0]
    assert plan([volume("/data")], {"/data": directory("/data")}).notices == ()


def test_volumes_are_shown_again_below_a_prefix_nested_ones_with_the_outer_and_then_it_is_sealed() -> None:
    targets = [
        Target("/data", "volume", read_only=False, place="both"),
        Target("/data/in", "volume", place="both"),
        Target("/var/run/one", "file", place="both"),
        Target("/etc/hosts", "file"),
        Target("/tmp/pod", "prefix"),
    ]
    found = directory("/data"), directory("/data/in"), file("/run/one"), file("/etc/hosts")
    made = steps(targets, *found, missing_below("/tmp/pod", "/tmp", writable=True))
    assert made[:1] == [MakeOnLaptop("/tmp/pod", True)]
    assert made[-6:] == [
        Seal("/data/in", is_volume=True),
        Make("/tmp/pod/data", True),
        Show("/data", "/tmp/pod/data"),
        Make("/tmp/pod/var/run/one", False),
        Show("/run/one", "/tmp/pod/var/run/one"),
        Seal("/tmp/pod", is_volume=False),
    ]


def test_what_cannot_be_at_its_own_path_is_mounted_below_the_prefix_alone() -> None:
    targets = [Target("/tmp/", "volume", place="below"), Target("/pod", "prefix")]
    made = steps(targets, directory("/tmp", occupied=True), directory("/pod"))
    assert made == [
        MountPrefix("/pod"),
        Make("/pod/tmp", True),
        MountVolume("/tmp/", "/pod/tmp", writable=False),
        Seal("/pod/tmp", is_volume=True),
        Seal("/pod", is_volume=False),
    ]
