from __future__ import annotations

import pytest

from telepresence_py.session.podstate import (
    addresses,
    holder_of,
    is_finished,
    is_ready,
    missing_gates,
    trouble,
    unschedulable,
    waiting_in_vain,
)


def pod(status=None, **spec):
    return {"metadata": {"name": "p"}, "spec": spec, "status": status or {}}


def condition(kind, status, **more):
    return {"type": kind, "status": status} | more


def test_a_pod_on_its_way_out_is_not_ready_whatever_its_condition_says():
    ready = pod({"phase": "Running", "conditions": [condition("Ready", "True")]})
    assert is_ready(ready)
    ready["metadata"]["deletionTimestamp"] = "now"
    assert not is_ready(ready)


def test_a_pod_without_status_is_neither_ready_nor_finished_nor_in_trouble():
    assert not is_ready(pod())
    assert not is_finished(pod())
    assert waiting_in_vain(pod()) is None
    assert unschedulable(pod()) is None
    assert addresses(pod()) == ()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_finished_is_finished_either_way(phase):
    assert is_finished(pod({"phase": phase}))


def test_addresses_of_both_families_come_in_order_and_an_old_server_names_one():
    assert addresses(pod({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]})) == (
        "10.0.0.1",
        "fd00::1",
    )
    assert addresses(pod({"podIP": "10.0.0.1"})) == ("10.0.0.1",)


def waiting(reason, name="app"):
    return {"name": name, "state": {"waiting": {"reason": reason, "message": "a\nb"}}}


def test_what_comes_by_waiting_is_waited_for():
    assert (
        waiting_in_vain(
            pod({"containerStatuses": [waiting("ContainerCreating"), waiting("PodInitializing")]})
        )
        is None
    )


def test_an_init_container_that_waits_in_vain_is_found_first():
    status = {
        "initContainerStatuses": [waiting("ErrImagePull", "i")],
        "containerStatuses": [waiting("ErrImagePull")],
    }
    found = waiting_in_vain(pod(status))
    assert found is not None
    assert (found.container, found.for_image, found.message) == ("i", True, "a b")


def test_a_readiness_gate_that_nobody_sets_is_named():
    gates = [{"conditionType": "lb/ready"}, {"conditionType": "other"}]
    assert missing_gates(pod({"conditions": [condition("other", "True")]}, readinessGates=gates)) == (
        "lb/ready",
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Running"}, "not Ready"),
        ({"phase": "Pending"}, "Pending"),
        ({}, "new"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (
            {"phase": "Pending", "containerStatuses": [waiting("CrashLoopBackOff")]},
            "container app CrashLoopBackOff",
        ),
        (
            {"conditions": [condition("PodScheduled", "False", reason="Unschedulable", message="0/2 nodes")]},
            "not scheduled: 0/2 nodes",
        ),
    ],
)
def test_trouble_is_told_in_a_few_words(status, words):
    assert trouble(pod(status)) == words


def test_a_holder_whose_annotations_were_taken_is_unknown():
    assert holder_of(pod()).who == "unknown"
