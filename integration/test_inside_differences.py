"""One static program is asked the same in the pod and inside: each answer is the same, or listed."""

from __future__ import annotations

import pytest

from integration.conftest import MakeNamespace
from integration.probe import differences
from integration.probe.languages import Builder
from integration.probe.surveying import (
    NAME,
    Surveyed,
    survey_child,
    survey_laptop,
    survey_pod,
    surveyed_workload,
)
from integration.probe.town import peers, settle
from integration.support.aftermath import assert_restored, remember
from integration.support.plain_user import PlainUser
from integration.support.product import product_for

# the answers of another cluster's nodes would be other ones
pytestmark = pytest.mark.own_cluster


@pytest.fixture(scope="module")
def surveyed(namespaces: MakeNamespace, user: PlainUser, sidecar_image: None, builder: Builder) -> Surveyed:
    """In a namespace of its own: variables tell of all Services that are there."""
    program = builder.built("survey") / "survey"
    place = namespaces("differences")
    *others, workload = surveyed_workload()
    settle(place, *peers(), *others)
    settle(place, workload)
    before = remember(place, NAME)
    with product_for(user, place.developer_kubeconfig()) as product:
        seen = Surveyed(
            pod=survey_pod(place, program),
            laptop=survey_laptop(product, program),
            child=survey_child(place, product, program),
        )
    assert_restored(before)
    return seen


def test_an_answer_is_the_same_as_in_the_pod_or_a_difference_that_is_listed(surveyed: Surveyed) -> None:
    """Nor is anything listed that does not differ."""
    assert differences.unexplained(surveyed) == []


def test_the_document_tells_every_question_and_every_difference(
    surveyed: Surveyed, request: pytest.FixtureRequest
) -> None:
    section = differences.report(surveyed)
    if request.config.getoption("write_differences"):
        differences.write(section)
    assert differences.written() == section, "write it anew with --write-differences, and read what changed"
