"""An intent survives being written as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from telepresence_py.model.intent import (
    ClusterChoice,
    EnvironmentChoice,
    LocalhostChoice,
    Model,
    PortOverride,
    PublishedPort,
    RunIntent,
    SwapIntent,
)


def test_an_intent_is_read_as_it_was_written():
    cluster = ClusterChoice("/k", "dev", "shop", "jane", ("dev", "ops"))
    ports = (PortOverride(8081, 80), PortOverride(9, 9))
    intent = SwapIntent(
        cluster=cluster,
        kind="deployment",
        name="orders",
        container="app",
        ports=ports,
        command=("a", "b c"),
        holder="me@here",
        image="r/i:1",
        grace_seconds=60.0,
        ready_now=True,
    )
    intent = replace(intent, environment=EnvironmentChoice("/e", None, {"A": "b\udcff"}))
    localhost = LocalhostChoice((PublishedPort(18080, 8080),), False, (5432,), (9000, 9001))
    intent = replace(intent, localhost=localhost, fast_connect=True, method="proxy")
    assert SwapIntent.from_json(json.loads(json.dumps(intent.to_json()))) == intent


@pytest.mark.parametrize("model", [None, Model("job", "migrate", "main")])
def test_the_intent_of_a_run_is_read_as_it_was_written(model):
    environment = EnvironmentChoice(None, "/e.json", {"A": "b"})
    intent = RunIntent(
        cluster=ClusterChoice("/k", "dev", "shop"),
        name="api",
        model=model,
        service_account="robot",
        exposed=(PortOverride(8081, 80),),
        command=("a", "b c"),
        holder="me@here",
        environment=environment,
    )
    assert RunIntent.from_json(json.loads(json.dumps(intent.to_json()))) == intent


def test_variables_that_are_laid_over_are_never_printed():
    assert "hunter2" not in repr(EnvironmentChoice(laid_over={"PASSWORD": "hunter2"}))


def test_fields_of_another_version_are_refused():
    with pytest.raises((TypeError, KeyError)):
        SwapIntent.from_json({"kind": "deployment"})
