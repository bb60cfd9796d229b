"""PURE: acting as another user (kubectl's `--as`), as the headers that the API server reads.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.intent import ClusterChoice, is_header_value

Headers = tuple[tuple[str, str], ...]
"""Names may repeat. Values are text, sent as UTF-8."""

_TOKEN = "!#$&'*+-.^_`|~"
"""What a header's name may have beside letters and digits (RFC 9110, 5.6.2); "%" escapes the rest."""


@dataclass(frozen=True)
class Impersonation:
    """Whom requests are made as; an empty `user` is oneself."""

    user: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def headers(self) -> Headers:
        if not self.user:
            return ()
        found = [("Impersonate-User", self.user)]
        found += [("Impersonate-Group", group) for group in self.groups]
        if self.uid:
            found.append(("Impersonate-Uid", self.uid))
        for key, values in self.extra:
            name = f"Impersonate-Extra-{quote(key, safe=_TOKEN)}"
            found += [(name, value) for value in values]
        return tuple(found)


def read_impersonation(user: Mapping[str, Any], choice: ClusterChoice, whose: str) -> Impersonation:
    """What the kubeconfig's user entry says, each part of it overridden by the command line's.

    `whose` names the entry. PreconditionFailed for what is no user, and for groups without one.
    """
    extra = user.get("as-user-extra") or {}
    if not isinstance(extra, Mapping):
        raise PreconditionFailed(f"as-user-extra of {whose} must map each key to a list of values")
    found = Impersonation(
        choice.as_user or _text(user, "as", whose),
        choice.as_groups or _texts(user.get("as-groups"), "as-groups", whose),
        _text(user, "as-uid", whose),
        tuple((str(key), _texts(values, "as-user-extra", whose)) for key, values in sorted(extra.items())),
    )
    if not found.user and (found.groups or found.uid or found.extra):
        raise PreconditionFailed(
            f"{whose} says groups, uid or extra to act with, but not as whom: add `as`, or say --as USER"
        )
    return found


def _text(user: Mapping[str, Any], key: str, whose: str) -> str:
    return next(iter(_texts([user[key]] if user.get(key) else [], key, whose)), "")


def _texts(values: Any, key: str, whose: str) -> tuple[str, ...]:
    values = values or []
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise PreconditionFailed(f"{key} of {whose} must be text; put it in quotes")
    if not all(map(is_header_value, values)):
        raise PreconditionFailed(f"{key} of {whose} has a line break or another control character")
    return tuple(values)
