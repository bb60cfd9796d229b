"""Each difference of pod and command that is not listed is told, and each listed one that is gone."""

from __future__ import annotations

import pytest

from integration.probe import differences
from integration.probe.differences import Difference, report, unexplained
from integration.probe.surveying import Surveyed, answers

ASKED = {"the host name": "POD", "the user": "10001", "eth0: the MTU": "1400"}
INSIDE = ASKED | {"the user": "me", "eth0: the MTU": "65536"}


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    some = (
        Difference(("the user",), "it is the laptop's", laptops=True, shown=False),
        Difference(("*: the MTU",), "a loopback device"),
    )
    monkeypatch.setattr(differences, "DIFFERENCES", some)


def seen(**changes: str) -> Surveyed:
    child = INSIDE | {name.replace("_", " "): value for name, value in changes.items()}
    return Surveyed(pod=ASKED, child=child, laptop={"the user": "me"})


def test_what_is_listed_is_well() -> None:
    assert unexplained(seen()) == []


def test_a_difference_that_is_not_listed_is_told() -> None:
    assert unexplained(seen(the_host_name="laptop")) == [
        "the host name: 'POD' in the pod, 'laptop' in the command"
    ]


def test_an_answer_that_the_pod_does_not_give_is_told() -> None:
    assert unexplained(seen(a_thing="there")) == ["a thing: None in the pod, 'there' in the command"]


def test_what_should_be_the_laptops_and_is_not_is_told() -> None:
    assert unexplained(seen(the_user="root")) == ["the user: not the laptop's 'me', but 'root'"]


def test_a_listed_difference_that_is_gone_is_told() -> None:
    gone = Surveyed(pod=ASKED, child=INSIDE | {"eth0: the MTU": "1400"}, laptop={"the user": "me"})
    assert unexplained(gone) == ["*: the MTU: listed, and no such answer differs"]


def test_the_report_has_every_question_and_the_answers_that_differ() -> None:
    text = report(seen())
    assert "Of 3 questions 1 must have" in text
    assert "- the host name" in text
    assert "| eth0: the MTU | `1400` | `65536` | a loopback device |" in text
    assert "| the user | the pod's | the laptop's | it is the laptop's |" in text


def test_names_of_a_pod_are_replaced_by_what_they_are_the_longest_first() -> None:
    lines = '["name", "web-1"]\n["address", "10.0.0.11 10.0.0.1"]\n'
    own = {"web-1": "POD", "10.0.0.1": "POD-IPv4", "10.0.0.11": "NEXT"}
    assert answers(lines, own) == {"name": "POD", "address": "NEXT POD-IPv4"}
