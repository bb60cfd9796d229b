"""What the process that parses tells the one that holds the session."""

from __future__ import annotations

import os

import pytest

from telepresence_py.cli import aside
from telepresence_py.cli.again import Again
from telepresence_py.cli.render import Wanted
from telepresence_py.model.door import Run, Swap
from telepresence_py.model.intent import (
    ClusterChoice,
    EnvironmentChoice,
    Model,
    PortOverride,
    RunIntent,
    SwapIntent,
)

COMMON = {
    "cluster": ClusterChoice(as_user="jane", as_groups=("a", "b")),
    "command": ("sh", "\udcff"),
    "holder": "me@here",
}
LAID_OVER = EnvironmentChoice("/env", None, {"NAME": "value\n\udcfe"})


@pytest.mark.parametrize(
    "opening",
    [
        Swap(
            SwapIntent(
                kind="deployment",
                name="x",
                container=None,
                ports=(PortOverride(1, 2),),
                environment=LAID_OVER,
                **COMMON,
            )
        ),
        Run(RunIntent(name=None, model=Model("job", "y"), service_account=None, exposed=(), **COMMON)),
    ],
    ids=["swap", "run"],
)
def test_what_was_asked_for_arrives_whole(opening):
    asked = aside.Asked(opening, Wanted(True, False, True, "/log"), Again(True, True, ("/a", "/b")))
    assert aside._decode(aside._encode(asked)) == asked


@pytest.mark.parametrize("words", [[], ["list"], ["--help"], ["sidecar", "build"]])
def test_what_holds_no_session_is_carried_out_here(words):
    assert aside.parse_aside(words) is None


def test_the_exit_code_of_the_process_that_parsed_is_ours():
    me = os.getpid()
    answer = aside.parse_aside(["swap"])
    if os.getpid() != me:
        os._exit(64)
    assert answer == 64
