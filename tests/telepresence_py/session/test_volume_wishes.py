from __future__ import annotations

import pytest

from telepresence_py.model.errors import NamedObjectMissing, PreconditionFailed
from telepresence_py.model.network import Mount
from telepresence_py.session.volume_wishes import require_volumes, wishes
from telepresence_py.volumes.choose import Wishes, choose

MOUNTS = (Mount("/srv/data/", "d", "persistentVolumeClaim"), Mount("/etc/shop", "s", "configMap"))


def test_a_volume_that_is_mounted_may_be_had_in_any_way() -> None:
    require_volumes(Wishes({"/srv/data": "live", "/etc/shop": "off"}), MOUNTS, "deployment/shop")


def test_a_path_at_which_nothing_is_mounted_names_the_nearest() -> None:
    with pytest.raises(NamedObjectMissing) as refused:
        require_volumes(Wishes({"/srv/dta": "copy"}), MOUNTS, "deployment/shop")
    assert refused.value.sentence == (
        '--volume /srv/dta=copy: deployment/shop mounts nothing there; did you mean "/srv/data"?'
    )


def test_a_live_volume_that_is_asked_for_is_refused_where_there_can_be_none() -> None:
    no_live = "this machine has no /dev/fuse"
    with pytest.raises(PreconditionFailed) as refused:
        require_volumes(Wishes({"/srv/data": "live"}, no_live), MOUNTS, "deployment/shop")
    assert f"--volume /srv/data=live: {no_live}" in refused.value.sentence
    require_volumes(Wishes({"/srv/data": "copy"}, no_live), MOUNTS, "deployment/shop")


def test_a_method_that_mounts_nothing_has_no_live_volumes() -> None:
    assert "proxy" in str(wishes({}, "proxy").no_live)
    assert "docker" in str(wishes({}, "docker", contained=True).no_live)


@pytest.mark.parametrize(("method", "prefix"), [("proxy", None), (None, "/pod")])
def test_what_would_hide_the_laptops_own_is_had_below_a_prefix_alone(method, prefix) -> None:
    mounts = (Mount("/tmp", "t", "configMap"), Mount("/dev/shm", "s", "emptyDir"), Mount("/", "r", "secret"))
    ways = {"/dev/shm": "copy"}
    choice = choose(mounts, (), wishes(ways, method, prefix))
    assert [mount.path for mount in choice.copied] == ["/tmp", "/dev/shm"]
    assert choice.below == {"/tmp", "/dev/shm"}
    assert [one.mount.path for one in choice.skipped] == ["/"]
    assert choose(mounts, (), wishes(ways, None)).below == frozenset()
