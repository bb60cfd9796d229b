from __future__ import annotations

import json
from pathlib import Path

import pytest

from telepresence_sidecar import facts
from telepresence_sidecar.contract import __version__
from telepresence_sidecar.facts import given_environment, own_addresses, read_facts

HOSTS = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost
10.108.1.34\tweb-1.web.shop.svc.cluster.local\tweb-1
fd00:108:1::22\tweb-1
10.0.0.9\tdatabase  # an alias
"""


def test_what_the_image_sets_is_not_given_by_the_pod() -> None:
    image = {"PATH": "/usr/bin", "LANG": "C.UTF-8"}
    environment = {"PATH": "/usr/bin", "LANG": "de_DE.UTF-8", "ORDERS": "a\nb"}
    assert given_environment(environment, image) == {"LANG": "de_DE.UTF-8", "ORDERS": "a\nb"}


def test_addresses_are_those_of_the_host_name_in_the_order_of_the_hosts_file() -> None:
    assert own_addresses(HOSTS, "web-1", lambda address: True) == ("10.108.1.34", "fd00:108:1::22")


def test_an_address_that_the_pod_has_not_is_left_out() -> None:
    assert own_addresses(HOSTS, "web-1", lambda address: ":" in address) == ("fd00:108:1::22",)


def test_the_facts_leave_out_the_recorded_environment_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "image-env.json"
    record.write_text(json.dumps({"OF_IMAGE": "1"}))
    monkeypatch.setattr(facts, "IMAGE_ENVIRONMENT", record)
    monkeypatch.setenv("OF_IMAGE", "1")
    monkeypatch.setenv("OF_POD", "2")
    told = read_facts()
    assert told["version"] == __version__
    assert isinstance(told["environment"], dict)
    assert "OF_IMAGE" not in told["environment"]
    assert told["environment"]["OF_POD"] == "2"
    assert told["addresses"] is not None
    json.dumps(told)


@pytest.mark.parametrize("contents", ["", "[]", "{"])
def test_without_a_record_nothing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: str
) -> None:
    record = tmp_path / "image-env.json"
    if contents:
        record.write_text(contents)
    monkeypatch.setattr(facts, "IMAGE_ENVIRONMENT", record)
    monkeypatch.setenv("OF_IMAGE", "1")
    environment = read_facts()["environment"]
    assert isinstance(environment, dict)
    assert environment["OF_IMAGE"] == "1"


def test_variables_that_are_no_utf_8_survive_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    value = b"caf\xe9".decode("utf-8", "surrogateescape")
    monkeypatch.setenv("LATIN", value)
    environment = json.loads(json.dumps(read_facts()))["environment"]
    assert environment["LATIN"].encode("utf-8", "surrogateescape") == b"caf\xe9"
