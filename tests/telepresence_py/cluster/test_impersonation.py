from __future__ import annotations

import pytest

from telepresence_py.cluster.impersonation import Impersonation, read_impersonation
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.intent import ClusterChoice

WHOSE = 'the user of context "dev"'


def read(user, **choice):
    return read_impersonation(user, ClusterChoice(**choice), WHOSE)


def test_nobody_is_impersonated_unasked():
    assert read({"token": "t"}).headers() == ()


def test_all_parts_of_the_user_entry_become_headers():
    user = {
        "as": "jürgen",
        "as-groups": ["dev", "ops"],
        "as-uid": "42",
        "as-user-extra": {"example.org/scopes": ["view", "edit"]},
    }
    assert read(user).headers() == (
        ("Impersonate-User", "jürgen"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Uid", "42"),
        ("Impersonate-Extra-example.org%2Fscopes", "view"),
        ("Impersonate-Extra-example.org%2Fscopes", "edit"),
    )


def test_the_command_line_overrides_part_by_part():
    user = {"as": "jane", "as-groups": ["dev"], "as-uid": "42"}
    assert read(user, as_user="joe") == Impersonation("joe", ("dev",), "42")
    assert read(user, as_user="joe", as_groups=("ops",)) == Impersonation("joe", ("ops",), "42")


def test_groups_without_a_user_are_refused():
    with pytest.raises(PreconditionFailed, match="--as USER"):
        read({"as-groups": ["dev"]})


@pytest.mark.parametrize(
    "user",
    [
        {"as": "jane\r\nImpersonate-Group: system:masters"},
        {"as": "jane", "as-groups": ["a\nb"]},
        {"as": "jane", "as-uid": "a\0b"},
        {"as": "jane", "as-user-extra": {"scopes": ["a\rb"]}},
    ],
)
def test_what_would_begin_another_header_is_refused(user):
    with pytest.raises(PreconditionFailed, match="control character"):
        read(user)


def test_a_key_of_extra_cannot_begin_another_header():
    names = [name for name, _ in read({"as": "j", "as-user-extra": {"a: b\r\nX-Evil": ["1"]}}).headers()]
    assert names == ["Impersonate-User", "Impersonate-Extra-a%3A%20b%0D%0AX-Evil"]


@pytest.mark.parametrize(
    "user",
    [
        {"as": 7},
        {"as": "j", "as-groups": "dev"},
        {"as": "j", "as-groups": [7]},
        {"as": "j", "as-user-extra": ["scopes"]},
        {"as": "j", "as-user-extra": {"scopes": "view"}},
    ],
)
def test_what_is_no_text_is_refused(user):
    with pytest.raises(PreconditionFailed, match="must"):
        read(user)
