"""The method "podman", as far as it needs no podman."""

from __future__ import annotations

import os

import pytest
import trio

from telepresence_py.isolation import podman
from telepresence_py.isolation.laying_out import root_path
from telepresence_py.isolation.podman import below
from telepresence_py.isolation.steps import Step, StepRefused
from telepresence_py.model.world import NetworkView

VIEW = NetworkView(
    "orders",
    ("10.0.0.1",),
    files={"/etc/hosts": b"h"},
    volume_paths=("/data", "/live/"),
    volume_files={"/etc/one": b"1"},
    writable_volume_paths=frozenset({"/data"}),
    live_volume_paths=("/live/",),
    container=True,
)


def test_all_paths_are_below_the_root_and_none_leads_out_of_it():
    moved = below("/run/c", VIEW)
    assert moved.files == {"/run/c/etc/hosts": b"h"}
    assert moved.volume_files == {"/run/c/etc/one": b"1"}
    assert moved.volume_paths == ("/run/c/data", "/run/c/live")
    assert moved.writable_volume_paths == {"/run/c/data"}
    assert moved.live_volume_paths == ("/run/c/live",)
    assert root_path("/run/c", "/../../etc/shadow") == "/run/c/etc/shadow"


@pytest.mark.parametrize(("uid", "said"), [(0, "plain users"), (1000, "not installed")])
def test_root_and_a_machine_without_podman_are_refused_by_a_sentence(monkeypatch, tmp_path, uid, said):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("PATH", str(tmp_path))

    async def try_it():
        async with podman.enter(VIEW, print, lambda _path, _descriptor: None):
            pass

    with pytest.raises(StepRefused) as caught:
        trio.run(try_it)
    assert caught.value.refusal.step is Step.PODMAN
    assert said in caught.value.refusal.detail
