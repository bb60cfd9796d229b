from __future__ import annotations

import pytest

from telepresence_py.model.network import Mount
from telepresence_py.volumes.choose import Wishes, choose, is_renewed


def reason(path: str, kind: str = "configMap", needed: tuple[str, ...] = ()) -> str | None:
    choice = choose([Mount(path, "v", kind)], needed)
    assert len(choice.copied) + len(choice.live) + len(choice.skipped) == 1
    return choice.skipped[0].reason if choice.skipped else None


@pytest.mark.parametrize("kind", ["configMap", "secret", "projected", "downwardAPI"])
def test_what_the_kubelet_renews_is_copied_as_a_copy_can_be_watched(kind: str) -> None:
    assert [mount.kind for mount in choose([Mount("/etc/orders", "v", kind)]).copied] == [kind]


@pytest.mark.parametrize("kind", ["emptyDir", "persistentVolumeClaim", "hostPath", "nfs", "csi", "ephemeral"])
def test_other_kinds_are_live(kind: str) -> None:
    assert [mount.kind for mount in choose([Mount("/data", "v", kind)]).live] == [kind]


def test_where_nothing_can_be_live_an_empty_dir_is_copied_and_the_rest_is_named_with_the_reason() -> None:
    mounts = [Mount("/scratch", "s", "emptyDir"), Mount("/data", "d", "persistentVolumeClaim")]
    choice = choose(mounts, wishes=Wishes(no_live="this machine has no /dev/fuse"))
    assert [mount.path for mount in choice.copied] == ["/scratch"]
    assert [(one.mount.path, "no /dev/fuse" in one.reason) for one in choice.skipped] == [("/data", True)]


def test_each_volume_is_had_as_the_user_wishes() -> None:
    mounts = [Mount(path, "v", "persistentVolumeClaim") for path in ("/a", "/b/", "/c", "/d")]
    mounts.append(Mount("/e", "v", "secret"))
    choice = choose(mounts, wishes=Wishes({"/a": "copy", "/b": "off", "/c": "live", "/e": "live"}))
    assert [mount.path for mount in choice.copied] == ["/a"]
    assert [mount.path for mount in choice.live] == ["/c", "/d", "/e"]
    assert choice.skipped == ()


def test_a_wish_does_not_let_a_volume_hide_what_the_command_needs() -> None:
    choice = choose([Mount("/etc", "v", "emptyDir")], wishes=Wishes({"/etc": "live"}))
    assert [one.mount.path for one in choice.skipped] == ["/etc"]


@pytest.mark.parametrize(
    "path",
    [
        "/var/run/secrets/kubernetes.io/serviceaccount",
        "/etc/ssl/certs",
        "/tmp/cache",
        "/var/lib/orders",
        "/opt",
        "/home/app/config",
    ],
)
def test_a_path_below_a_system_directory_is_copied(path: str) -> None:
    assert reason(path) is None


@pytest.mark.parametrize("path", ["/", "/tmp", "/etc", "/etc/", "/usr/lib", "/run", "/home", "/var/run"])
def test_a_mount_never_hides_a_system_directory(path: str) -> None:
    assert "hide" in str(reason(path, "emptyDir"))


@pytest.mark.parametrize("path", ["/dev/shm", "/dev/termination-log", "/proc/x", "/sys/fs/cgroup"])
def test_the_kernels_trees_are_left_alone(path: str) -> None:
    assert "kernel" in str(reason(path, "emptyDir"))


@pytest.mark.parametrize("path", ["/checkout", "/checkout/shop", "/checkout/shop/"])
def test_a_mount_never_hides_what_the_command_needs(path: str) -> None:
    assert "/checkout/shop" in str(reason(path, needed=("/checkout/shop",)))


def test_a_mount_inside_or_beside_what_the_command_needs_is_copied() -> None:
    assert reason("/checkout/shop/config", needed=("/checkout/shop",)) is None
    assert reason("/checkout/sho", needed=("/checkout/shop",)) is None


@pytest.mark.parametrize("path", ["relative", "/a/../etc"])
def test_odd_paths_are_skipped(path: str) -> None:
    assert reason(path) is not None


def test_the_pods_order_is_kept() -> None:
    mounts = [Mount("/a", "1", "secret"), Mount("/b", "2", "nfs"), Mount("/c", "3", "emptyDir")]
    choice = choose(mounts)
    assert choice.copied == (mounts[0],)
    assert choice.live == (mounts[1], mounts[2])
    assert choice.skipped == ()


@pytest.mark.parametrize("kind", ["configMap", "secret", "projected", "downwardAPI"])
def test_what_the_kubelet_renews_is_renewed_but_never_a_sub_path(kind: str) -> None:
    assert is_renewed(Mount("/etc/orders", "v", kind))
    assert not is_renewed(Mount("/etc/orders", "v", kind, sub_path="key"))


def test_an_empty_dir_is_not_renewed() -> None:
    assert not is_renewed(Mount("/cache", "v", "emptyDir"))
