"""What continuous load tells of the time in which it failed."""

from __future__ import annotations

import pytest

from integration.support.namespaces import Tally


@pytest.mark.parametrize(
    ("failed_at", "seconds"),
    [([], 0.0), ([7.0], 0.0), ([3.0, 3.5, 4.25], 1.25), ([1.0, 1.5, 9.0, 9.25], 0.5), ([2.5, 2.0], 0.5)],
)
def test_the_longest_time_without_a_second_free_of_failures(failed_at: list[float], seconds: float) -> None:
    assert Tally(failed_at=failed_at).longest_refusal() == seconds
