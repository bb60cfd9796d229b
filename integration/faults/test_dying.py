"""Whoever dies, at whatever step: the workload comes back by itself, unedited, and nothing of ours is left.

CI tries a sample of all cases, always the same; `--full` tries them all, `--seed N` another sample.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.conftest import MakeNamespace
from integration.faults.death import Death
from integration.faults.place import Place, place_for
from integration.faults.points import Case, all_cases, sample
from integration.support.plain_user import PlainUser

SAMPLE = 10
"""Cases, of about a quarter of a minute each."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    if "case" in metafunc.fixturenames:
        cases = all_cases() if option("full") else sample(option("seed"), SAMPLE)
        marked = [pytest.param(case, marks=marks_of(case), id=str(case)) for case in cases]
        metafunc.parametrize("case", marked)


def marks_of(case: Case) -> list[pytest.MarkDecorator]:
    """A process is killed where it runs: on a node, which must be this machine."""
    return [pytest.mark.own_cluster] if case.victim.name == "sidecar" else []


@pytest.fixture(scope="module")
def place(namespaces: MakeNamespace, user: PlainUser, sidecar_image: None) -> Iterator[Place]:
    with place_for(namespaces("faults"), user) as place:
        yield place


def test_whoever_dies_the_workload_is_as_it_was(place: Place, case: Case) -> None:
    with Death(place, case) as death:
        with place.under_load() as tally:
            death.begin()
            death.strike()
            death.see_it_through()
        death.judge(tally)
        place.assert_never_edited()
