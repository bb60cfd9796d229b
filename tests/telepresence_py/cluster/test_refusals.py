"""Messages are those of a Kubernetes 1.34 API server."""

from __future__ import annotations

import pytest

from telepresence_py.cluster.calls import DEPLOYMENTS, PODS, Call, Where
from telepresence_py.cluster.refusals import Answer, explain, no_rights, unreachable
from telepresence_py.model.errors import (
    ClusterUnreachable,
    InternalError,
    NamedObjectMissing,
    NoRights,
    PreconditionFailed,
)

WHERE = Where("dev", "shop", "https://api:6443")
CREATE = Call("create", PODS)


def explained(status, message="", call=CREATE, **details):
    return explain(call, WHERE, Answer(status, {"message": message, "details": details}))


def test_missing_rights_name_verb_resource_namespace_and_context():
    message = 'deployments.apps "orders" is forbidden: User "eve" cannot get resource "deployments"'
    error = explained(403, message, Call("get", DEPLOYMENTS, "orders"))
    assert isinstance(error, NoRights)
    for word in ("get", "deployments.apps", '"shop"', '"dev"', "edit"):
        assert word in error.sentence


def test_whoever_may_not_impersonate_is_told_so():
    message = (
        'groups "ops" is forbidden: User "eve" cannot impersonate resource "groups" in API group "" '
        "at the cluster scope"
    )
    error = explained(403, message, Call("list", PODS))
    assert isinstance(error, NoRights)
    for word in ("act as the group ops", '"dev"', "--as", "impersonate groups"):
        assert word in error.sentence


def test_missing_rights_on_a_subresource_are_named_as_rbac_does():
    assert Call("get", PODS, "p", "log").rbac_resource == "pods/log"
    assert "pods/portforward" in no_rights("create", "pods/portforward", WHERE).sentence


def test_credentials_that_are_not_accepted_ask_for_a_new_login():
    assert isinstance(explained(401), ClusterUnreachable)
    assert "log in" in explained(401).sentence
    anonymous = 'pods is forbidden: User "system:anonymous" cannot list resource "pods"'
    assert isinstance(explained(403, anonymous, Call("list", PODS)), ClusterUnreachable)


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (
            'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2',
            "quota",
        ),
        ('pods "x" is forbidden: failed quota: q: must specify limits.cpu for: app', "quota"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot', "Pod Security"),
        ("minimum cpu usage per Container is 50m, but request is 10m", "LimitRange"),
        ("cpu max limit to request ratio per Container is 2, but provided ratio is 9", "LimitRange"),
        ('error looking up service account shop/none: serviceaccount "none" not found', "rules"),
    ],
)
def test_a_create_that_admission_forbids_is_a_precondition_with_the_servers_words(message, word):
    error = explained(403, message)
    assert isinstance(error, PreconditionFailed)
    assert word in error.sentence
    assert message in error.sentence


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_webhooks_refusal_is_a_precondition_whatever_its_status(status):
    error = explained(status, 'admission webhook "policy.example" denied the request: no latest tags')
    assert isinstance(error, PreconditionFailed)
    assert "no latest tags" in error.sentence


def test_what_is_not_there_is_named():
    error = explained(
        404, 'deployments.apps "x" not found', Call("get", DEPLOYMENTS, "x"), kind="deployments"
    )
    assert isinstance(error, NamedObjectMissing)
    assert 'no deployment "x"' in error.sentence
    error = explained(404, 'namespaces "shop" not found', kind="namespaces")
    assert isinstance(error, NamedObjectMissing)
    assert 'no namespace "shop"' in error.sentence


def test_a_server_that_is_busy_or_silent_is_unreachable():
    assert isinstance(explained(503, "etcd is away"), ClusterUnreachable)
    assert "https://api:6443" in unreachable(WHERE, "connection refused").sentence


def test_an_answer_that_nobody_expects_is_a_bug_of_ours():
    assert isinstance(explained(302), InternalError)


def test_sentences_are_one_line_even_when_the_server_sends_several():
    assert "\n" not in explained(422, "Pod is invalid:\n* spec\n* other").sentence
