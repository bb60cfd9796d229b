from __future__ import annotations

import pytest

from telepresence_sidecar.log import Log, process_age


def test_lines_tell_in_whose_name(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log("s-1", "joe@laptop")
    log.line("host key SHA256:x")
    log.of_session("client connected")
    assert capsys.readouterr().out == "host key SHA256:x\nclient connected: session s-1 of joe@laptop\n"


def test_a_process_knows_its_age() -> None:
    assert 0 < process_age() < 86_400
