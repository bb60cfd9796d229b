"""What a container is given of the pod's files."""

from __future__ import annotations

from telepresence_py.model.world import ContainerPlace, NetworkView
from telepresence_py.session.containers import container_binds


def test_outer_volumes_come_first_and_only_those_that_may_be_written_are_not_sealed():
    view = NetworkView(
        "orders",
        (),
        files={"/etc/hosts": b""},
        volume_paths=("/data/deep/inner", "/data"),
        volume_files={"/etc/one": b"1"},
        writable_volume_paths=frozenset({"/data"}),
    )
    binds = container_binds(ContainerPlace(7, "/run/c"), view)
    assert (binds.first_pid, binds.helper, binds.address) == (7, "", "")
    assert binds.binds == (
        ("/run/c/data", "/data", False),
        ("/run/c/etc/hosts", "/etc/hosts", True),
        ("/run/c/etc/one", "/etc/one", True),
        ("/run/c/data/deep/inner", "/data/deep/inner", True),
    )
