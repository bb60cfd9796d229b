"""The child has the pod's variables over the laptop's, and the pod's files at the pod's own paths."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.probe.asking import ProbeError
from integration.probe.languages import LANGUAGES, Builder
from integration.probe.parity import Inside, inside_target
from integration.probe.town import JSON_BLOB, MULTI_LINE, SERVICE_ACCOUNT, SINGLE_FILE, VOLUMES
from integration.support.namespaces import Namespace
from integration.support.product import Product

OF_ONE_POD = ("HOSTNAME", "POD_NAME", "POD_IP")
"""Variables that differ from pod to pod."""
OF_THE_LAPTOP = ("PATH", "HOME", "PYTHONPATH")
"""Variables of the pod's spec or image that stay the laptop's."""
OF_THE_CHILD = ("PROBE_WHO", "LC_CTYPE")
"""Set by the child's own command line; CPython adds LC_CTYPE when there is no locale."""
FILES = (
    "/etc/target/config/colour",
    "/etc/target/config/shape.txt",
    "/run/secrets/target/token",
    "/opt/target/all/deep/down/colour",
    "/opt/target/all/user",
    "/var/lib/target/sub/file",
    "/var/lib/target/link",
    SINGLE_FILE,
    f"{SERVICE_ACCOUNT}/ca.crt",
    f"{SERVICE_ACCOUNT}/namespace",
)
"""Those whose content is the same in every pod of the workload."""


@pytest.fixture(scope="module", params=LANGUAGES)
def inside(
    request: pytest.FixtureRequest, town: Namespace, townsman: Product, builder: Builder
) -> Iterator[Inside]:
    questions: list[dict[str, Any]] = [{"ask": "environment"}]
    questions += [{"ask": "file", "path": path, "key": path} for path in (*FILES, *VOLUMES)]
    child = builder.probe(request.param, townsman, "http:8080")
    with inside_target(town, townsman, child, questions) as found:
        yield found


def test_every_variable_that_kubernetes_gives_has_the_pods_value(inside: Inside) -> None:
    child, pod = inside.child.ask("environment"), inside.original["environment"]
    own = (*OF_ONE_POD, *OF_THE_LAPTOP, *OF_THE_CHILD)
    differing = {name: (value, child.get(name)) for name, value in pod.items() if child.get(name) != value}
    assert {name: both for name, both in differing.items() if name not in own} == {}


def test_values_arrive_whatever_is_in_them(inside: Inside) -> None:
    child = inside.child.ask("environment")
    assert child["MULTI_LINE"] == MULTI_LINE
    assert child["JSON_BLOB"] == JSON_BLOB
    assert child["EMPTY"] == ""
    assert child["COMPOSED"] == "a value of target"


def test_variables_come_from_config_maps_secrets_and_the_downward_api(inside: Inside) -> None:
    child = inside.child.ask("environment")
    assert child["SET_colour"] == "green\n"
    assert child["CRED_user"] == "tester"
    assert child["TOKEN"] == "s3cret-of-the-test"
    assert child["POD_APP"] == "target"
    assert child["POD_NAME"] == inside.pod_name
    assert child["POD_IP"] in inside.pod_addresses


def test_variables_that_describe_the_laptop_stay_the_laptops(inside: Inside, townsman: Product) -> None:
    child, laptop = inside.child.ask("environment"), townsman.environment()
    for name in ("PATH", "HOME", "USER", "XDG_RUNTIME_DIR", "KUBECONFIG"):
        assert child[name] == laptop[name]
    assert "PYTHONPATH" not in child


@pytest.mark.parametrize("path", FILES)
def test_a_file_has_the_pods_content_at_the_pods_path(inside: Inside, path: str) -> None:
    seen, expected = inside.child.ask("file", path=path), inside.original[path]
    assert base64.b64decode(seen["content"]) == base64.b64decode(expected["content"])
    assert seen["mode"] == expected["mode"]
    assert seen.get("target") == expected.get("target"), "a link stays a link, and to the same place"


@pytest.mark.parametrize(("path", "kind"), VOLUMES.items())
def test_a_volume_has_the_pods_entries(inside: Inside, path: str, kind: str) -> None:
    def lasting(names: list[str]) -> list[str]:
        # the kubelet names its directory by the time at which it wrote it
        return [name for name in names if not name.startswith("..2")]

    names = inside.child.ask("file", path=path)["names"]
    assert lasting(names) == lasting(inside.original[path]["names"]), kind


def test_labels_come_by_the_downward_api(inside: Inside) -> None:
    assert 'app="target"' in inside.child.content("/etc/target/pod/labels").decode()


def test_a_token_for_an_audience_of_its_own_is_there(inside: Inside) -> None:
    header, _, _ = inside.child.content("/opt/target/all/token-for-peer").decode().split(".")
    assert header


def test_the_service_account_is_the_pods(inside: Inside) -> None:
    """Its token names the sidecar's pod: it is this pod's own, not a copy of another's."""
    payload = inside.child.content(f"{SERVICE_ACCOUNT}/token").decode().split(".")[1]
    claims = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    assert inside.pod_name in claims
    assert inside.child.content(f"{SERVICE_ACCOUNT}/namespace").decode() == inside.town.name


@pytest.mark.parametrize("path", ["/etc/target/config/new", "/run/secrets/target/new"])
def test_what_the_pod_may_not_write_the_child_may_not_either(inside: Inside, path: str) -> None:
    with pytest.raises(ProbeError) as refused:
        inside.child.ask("write", path=path, text="x")
    assert refused.value.errno in ("EROFS", "EACCES")


def test_nothing_of_the_pods_files_is_on_the_host(inside: Inside) -> None:
    for path in (*FILES, *VOLUMES, SERVICE_ACCOUNT):
        there = Path(path)
        # a session of root's makes mount points in the host's tree: empty ones
        assert not there.exists() or (there.is_dir() and not any(there.iterdir())), path


def test_the_rest_of_the_laptops_files_are_as_ever(inside: Inside, townsman: Product) -> None:
    assert inside.child.ask("file", path=str(townsman.user.home))["kind"] == "directory"
    note = townsman.directory / "note"
    assert inside.child.ask("write", path=str(note), text="kept") == 4
    assert note.read_text() == "kept"
