"""A session's record is read as it was written."""

from __future__ import annotations

import pytest

from telepresence_py.model.records import SessionRecord

RECORD = SessionRecord(
    "s1", "deployment/orders", "shop", "dev", "2024-01-01T00:00:00Z", 7, 99, ("a", "b"), "/door"
)


def test_a_record_is_read_as_it_was_written():
    assert SessionRecord.from_json(RECORD.to_json()) == RECORD


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"session": "x"}', b'"x"'])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(ValueError, match="not a session's record"):
        SessionRecord.from_json(text)
