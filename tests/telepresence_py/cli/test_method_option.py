"""`--method`."""

from __future__ import annotations

import pytest

from telepresence_py.cli.method_option import method_choice
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import METHODS, METHODS_BESIDE, LocalhostChoice, PublishedPort
from telepresence_py.model.rules import Rule, Way

NONE = LocalhostChoice()


def test_whatever_works_is_taken_unless_one_is_named():
    assert method_choice(None, (), NONE) is None
    assert [method_choice(name, (), NONE) for name in METHODS] == [*METHODS]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("user-ns", "did you mean 'userns'?"),
        ("Proxy", "did you mean 'proxy'?"),
        ("", "userns, redirect, podman, sudo, docker, seccomp and proxy"),
    ],
)
def test_an_unknown_method_names_the_nearest(word, hint):
    with pytest.raises(BadUsage) as caught:
        method_choice(word, (), NONE)
    assert hint in caught.value.sentence


@pytest.mark.parametrize(
    ("rules", "localhost", "named"),
    [
        ((Rule(Way.NEVER, "db.example"),), NONE, "--never db.example"),
        ((), LocalhostChoice(published=(PublishedPort(1, 2),)), "--publish"),
        ((), LocalhostChoice(pod_localhost=(5432,)), "--pod-localhost 5432"),
    ],
)
def test_who_stays_on_the_laptop_refuses_what_it_could_not_keep(rules, localhost, named):
    for word in METHODS_BESIDE:
        with pytest.raises(BadUsage, match=f"--method {word}") as caught:
            method_choice(word, rules, localhost)
        assert named in caught.value.sentence
    assert method_choice("userns", rules, localhost) == "userns"


def test_what_the_proxy_can_keep_is_not_refused():
    wanted = LocalhostChoice(publish_others=False, from_pod=(9000,))
    assert method_choice("proxy", (), wanted) == "proxy"
