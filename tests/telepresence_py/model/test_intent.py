"""An intent survives being written as JSON."""

from __future__ import annotations

import json

import pytest

from telepresence_py.model.intent import ClusterChoice, PortOverride, SwapIntent


def test_an_intent_is_read_as_it_was_written():
    cluster = ClusterChoice("/k", "dev", "shop", "jane", ("dev", "ops"))
    ports = (PortOverride(8081, 80), PortOverride(9, 9))
    intent = SwapIntent(
        cluster, "deployment", "orders", "app", ports, ("a", "b c"), "me@here", "r/i:1", 60.0, True
    )
    assert SwapIntent.from_json(json.loads(json.dumps(intent.to_json()))) == intent


def test_fields_of_another_version_are_refused():
    with pytest.raises((TypeError, KeyError)):
        SwapIntent.from_json({"kind": "deployment"})
