"""`--publish`, `--no-publish`, `--pod-localhost`, `--from-pod`."""

from __future__ import annotations

import pytest

from telepresence_py.cli.localhost_options import localhost_choice, parse_published
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import LocalhostChoice, PublishedPort


def chosen(publish=(), no_publish=False, pod_localhost=(), from_pod=()):
    return localhost_choice(
        {"publish": publish, "no_publish": no_publish, "pod_localhost": pod_localhost, "from_pod": from_pod}
    )


def test_what_was_typed_is_what_is_asked_for():
    assert chosen() == LocalhostChoice()
    typed = chosen(("8080", "18080:8080", "8080"), True, ("5432", "5432"), ("9000",))
    published = (PublishedPort(8080, 8080), PublishedPort(18080, 8080))
    assert typed == LocalhostChoice(published, False, (5432,), (9000,))


@pytest.mark.parametrize("word", ["", "http", "0", "65536", "80:", ":80", "-1", "8080:x", "１２"])
def test_what_is_no_port_is_refused_with_its_option(word):
    with pytest.raises(BadUsage, match=r"--publish .*is not a port"):
        parse_published([word])
    for option in ("pod_localhost", "from_pod"):
        with pytest.raises(BadUsage, match=f"--{option.replace('_', '-')} .*is not a port"):
            chosen(**{option: (word,)})


def test_an_address_to_publish_on_is_refused():
    with pytest.raises(BadUsage, match="only localhost is published on"):
        parse_published(["0.0.0.0:80:8080"])


def test_a_port_of_the_laptop_leads_to_one_port():
    with pytest.raises(BadUsage, match="twice where localhost:80 "):
        parse_published(["80:1", "80:2"])


def test_a_port_is_not_brought_from_the_pod_and_looked_for_there():
    with pytest.raises(BadUsage, match="contradict"):
        chosen(pod_localhost=("80",), from_pod=("81", "80"))
