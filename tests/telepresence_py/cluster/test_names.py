from __future__ import annotations

import pytest

from telepresence_py.cluster.names import nearest, suggestion


@pytest.mark.parametrize(
    ("written", "existing", "meant"),
    [
        ("oders", ["orders", "payments"], "orders"),
        ("Orders", ["orders"], "orders"),
        ("order", ["shop-orders", "payments"], "shop-orders"),
        ("zzz", ["orders"], None),
        ("", ["orders"], None),
        ("orders", [], None),
    ],
)
def test_the_nearest_name_is_found_in_spite_of_slips_case_and_omissions(written, existing, meant):
    assert nearest(written, existing) == meant


def test_without_a_similar_name_those_that_exist_are_listed():
    assert suggestion("zzz", ["b", "a"], "deployments") == ": there are a, b"
    assert suggestion("zzz", [], "deployments") == ": there are no deployments"
    assert suggestion("oders", ["orders"], "deployments") == '; did you mean "orders"?'
    assert suggestion("zzz", [f"n{i}" for i in range(9)], "deployments").endswith(", ...")
