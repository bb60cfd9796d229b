from __future__ import annotations

import pytest

from telepresence_py.cli.volume_options import parse_volumes
from telepresence_py.model.errors import BadUsage


def test_each_path_has_a_way_and_no_slash_at_its_end() -> None:
    words = ["/data=live", "/srv/a=b/=copy", "/scratch=off", "/data/=live"]
    assert parse_volumes(words) == {"/data": "live", "/srv/a=b": "copy", "/scratch": "off"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/data"], "PATH=WAY"),
        (["data=live"], "PATH=WAY"),
        (["=live"], "PATH=WAY"),
        (["/data=lvie"], "did you mean 'live'?"),
        (["/data=yes"], "write copy, live or off"),
        (["/data="], "write copy, live or off"),
        (["/data=live", "/data=off"], "says twice"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(BadUsage) as refused:
        parse_volumes(words)
    assert told in str(refused.value)
