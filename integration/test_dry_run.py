"""What `--dry-run` tells is what the same command then does, and telling it touches nothing."""

from __future__ import annotations

import json

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import (
    assert_no_process_left,
    assert_nothing_touched,
    assert_restored,
    remember,
    sidecar_pods,
)
from integration.support.events import events_about
from integration.support.namespaces import Namespace
from integration.support.product import Product


def test_a_swap_does_what_its_dry_run_told(town: Namespace, townsman: Product) -> None:
    settle(town, probe_config_map(), *Workload("foretold", replicas=2).objects())
    before = remember(town, "foretold")
    uids = {pod["metadata"]["uid"] for pod in town.pods("app=foretold")}
    ended = townsman.run("swap", "foretold", "--dry-run", "--output", "json", "--", "true")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert_nothing_touched(before)
    assert {pod["metadata"]["uid"] for pod in town.pods("app=foretold")} == uids
    assert_no_process_left(townsman)
    with swapped(townsman, "foretold", "--verbose") as swap:
        pods = {pod["metadata"]["name"]: pod for pod in sidecar_pods(town, "foretold")}
        assert sorted(one["metadata"]["name"] for one in told["objects"]) == sorted(pods)
        for one in told["objects"]:
            made = pods[one["metadata"]["name"]]["spec"]["containers"][0]
            (sidecar,) = one["spec"]["containers"]
            assert (sidecar["name"], sidecar["image"]) == (made["name"], made["image"])
        done = [line.partition("] ")[2] for line in swap.running.err.splitlines()]
        for change in told["changes"]:
            assert f"{change['do']}; undone by: {change['undo']}" in done
        assert swap.end() == 0
    assert_restored(before)
    assert [event["reason"] for event in events_about(town, "foretold")] == ["Swapped", "Restored"]


def test_a_run_is_told_and_not_made(town: Namespace, townsman: Product) -> None:
    words = ("run", "--name", "untold", "--expose", "8080", "--like", "target", "--dry-run")
    ended = townsman.run(*words, "--", "true")
    assert ended.code == 0, ended.err
    assert "create pod untold" in ended.out
    assert "create service untold" in ended.out
    named = [one["metadata"]["name"] for one in town.get("pods,services")]
    assert "untold" not in named
    assert_no_process_left(townsman)
