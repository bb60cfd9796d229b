from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.asking import Failed, client
from benchmarks.files import RATE, SMALL, Reader, limits, rival_small, small_rate, whole
from benchmarks.load import fill
from benchmarks.sshfs import command
from benchmarks.trials import Samples
from benchmarks.ways import SESSION, SSHFS


def test_every_small_file_that_was_filled_in_is_found_and_read(tmp_path):
    fill.main(str(tmp_path), "first", 250, 3_000_000)
    with client() as asking:
        answer = asking.ask("read", path=str(tmp_path / "first" / "small"))
        assert whole(answer, 250, 250 * fill.SMALL_SIZE)["seconds"] > 0
        assert whole(asking.ask("read", path=str(tmp_path / "first" / "large")), 1, 3_000_000)
    assert {len(os.listdir(each)) for each in (tmp_path / "first" / "small").iterdir()} == {100, 50}


def test_what_was_filled_in_before_goes(tmp_path):
    for name in ("first", "second"):
        fill.main(str(tmp_path), name, 1, 1)
    assert os.listdir(tmp_path) == ["second"]


def test_a_reading_of_less_than_all_is_no_figure():
    answer = {"seconds": 1.0, "files": 99, "bytes": 99_000}
    with pytest.raises(Failed, match="99000 bytes in 99 files, not 100000 in 100"):
        whole(answer, 100, 100_000)


def test_what_cannot_be_read_says_why_in_each_row(tmp_path):
    with client() as asking:
        found = dict(Reader(asking, str(tmp_path), 1).read("absent", small_rate(0)))
    assert [metric.name for metric in found] == [small_rate(0).name, RATE.name]
    assert all("FileNotFoundError" in str(why) for why in found.values())


def test_fewer_files_by_a_slow_link_are_told_in_the_rows_name():
    assert rival_small(0) == SMALL
    assert "sshfs" not in small_rate(0).name
    assert f"sshfs: {rival_small(50)} of them" in small_rate(50).name


@pytest.mark.parametrize(("round_trip", "least"), [(0, 20), (20, 20), (50, 100)])
def test_a_limit_stands_in_the_row_of_its_figure(round_trip, least):
    samples = Samples()
    for way in (SESSION, SSHFS):
        for metric in (small_rate(round_trip), RATE):
            samples.add(metric, way, 1.0)
    small, large = samples.figures("files", limits(round_trip), SESSION)
    assert (small.limit.least_ratio, large.limit.least_ratio) == (least, 1)
    assert small.missed
    assert not large.missed


def test_sshfs_asks_nobody_and_reads_no_settings_of_the_users():
    words = command(Path("/key"), 2022, "/srv/files", Path("/mnt"))
    assert words[-2:] == ["nobody@127.0.0.1:/srv/files", "/mnt"]
    assert {"BatchMode=yes", "IdentityFile=/key", "StrictHostKeyChecking=no"} <= set(words)
    assert words[words.index("-F") + 1] == "none"
    assert "-f" in words
