"""PURE: what the API server answered, as one sentence of ours and an error type.

The server's own words are kept where they carry the cause (quota, Pod Security, webhooks); they never carry
credentials of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from telepresence_py.cluster.calls import Call, Json, Where
from telepresence_py.model.errors import (
    ClusterUnreachable,
    InternalError,
    NamedObjectMissing,
    NoRights,
    PreconditionFailed,
    TelepresenceError,
)

QUOTA = "a quota of"
_MAY_NOT_IMPERSONATE = r'(?P<kind>\S+) "(?P<name>.*)" is forbidden: User ".*" cannot impersonate resource'


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer; a refusal's body is a Kubernetes Status object."""

    status: int
    json: Json

    @property
    def message(self) -> str:
        return " ".join(str(self.json.get("message", "")).split())

    @property
    def words(self) -> str:
        """The server's message, for the end of a sentence."""
        return self.message or f"HTTP {self.status} {self.json.get('reason', '')}".strip()


def explain(call: Call, where: Where, answer: Answer) -> TelepresenceError:
    """The error for an answer that is no success."""
    status, tried = answer.status, f'{call.what} in namespace "{where.namespace}"'
    if status == 401:
        return _unknown_user(where)
    if status == 403:
        return _forbidden(call, where, answer)
    if status == 404:
        return _missing(call, where, answer)
    if _is_webhook(answer.message):
        return _admission(call, where, answer)
    if status in (400, 409, 413, 415, 422):
        return PreconditionFailed(f"the API server refused to {tried}: {answer.words}")
    if status == 429 or status >= 500:
        return ClusterUnreachable(
            f"the API server {where.server} cannot {tried} now (HTTP {status}), try later: {answer.words}"
        )
    return InternalError(f"the API server answered HTTP {status} to an attempt to {tried}")


def unreachable(where: Where, cause: str) -> ClusterUnreachable:
    """The error for a server that does not answer at all; `cause` is one line."""
    return ClusterUnreachable(
        f'the API server {where.server} of context "{where.context}" does not answer ({cause}): '
        "check network, VPN and context"
    )


def is_quota(error: PreconditionFailed) -> bool:
    """Whether a quota is what `explain` told of."""
    return str(error).startswith(QUOTA)


def no_rights(verb: str, rbac_resource: str, where: Where) -> NoRights:
    """`rbac_resource` as `kubectl auth can-i` takes it, such as deployments.apps or pods/log."""
    return NoRights(
        f'you may not {verb} {rbac_resource} in namespace "{where.namespace}" of context "{where.context}": '
        "check the namespace's name, or ask for the role `edit` there"
    )


def _unknown_user(where: Where) -> TelepresenceError:
    return ClusterUnreachable(
        f'the API server {where.server} does not accept the credentials of context "{where.context}", '
        "which may have expired: log in again"
    )


def _forbidden(call: Call, where: Where, answer: Answer) -> TelepresenceError:
    if 'User "system:anonymous"' in answer.message:
        return _unknown_user(where)
    if (refused := re.search(_MAY_NOT_IMPERSONATE, answer.message)) is not None:
        kind, name = refused["kind"], refused["name"]
        return NoRights(
            f'you may not act as the {kind.removesuffix("s")} {name} in context "{where.context}": '
            f"leave it out (--as, or `as` in the kubeconfig), or ask for the right to impersonate {kind}"
        )
    by_rbac = re.search(r'User ".*" cannot \w+ resource', answer.message)
    if call.verb in ("create", "patch") and answer.message and not by_rbac:
        return _admission(call, where, answer)
    return no_rights(call.verb, call.rbac_resource, where)


def _admission(call: Call, where: Where, answer: Answer) -> PreconditionFailed:
    """The cluster's own rules said no, not the rights of the user."""
    message, namespace = answer.message, f'namespace "{where.namespace}"'
    if "exceeded quota" in message or "failed quota" in message:
        begin = f"{QUOTA} {namespace} leaves no room for one more pod"
    elif "violates PodSecurity" in message:
        begin = f"Pod Security of {namespace} does not admit the pod"
    elif re.search(r"(usage|limit to request ratio) per (Container|Pod) is", message):
        begin = f"a LimitRange of {namespace} does not allow the pod"
    else:
        begin = f"the cluster's rules do not allow to {call.what} in {namespace}"
    return PreconditionFailed(f"{begin}: {answer.words}")


def _missing(call: Call, where: Where, answer: Answer) -> TelepresenceError:
    kind = (answer.json.get("details") or {}).get("kind")
    if kind == "namespaces" or call.resource.plural == "namespaces":
        return NamedObjectMissing(
            f'there is no namespace "{where.namespace}" in the cluster of context "{where.context}"'
        )
    named = f'{call.resource.singular} "{call.name}"' if call.name else call.resource.plural
    return NamedObjectMissing(
        f'there is no {named} in namespace "{where.namespace}" of context "{where.context}"'
    )


def _is_webhook(message: str) -> bool:
    return "admission webhook" in message or "failed calling webhook" in message
