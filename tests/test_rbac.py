"""docs/rbac.md, and the lists of rights that it is made from."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import trio

from telepresence_py.cluster import access, calls
from telepresence_py.cluster.access import Right, require_rights, restore_rights, run_rights, swap_rights
from telepresence_py.cluster.calls import Resource
from telepresence_py.cluster.client import open_cluster
from telepresence_py.model.errors import NoRights
from telepresence_py.model.intent import ClusterChoice
from tests import rbac_page
from tests.fakes.cluster import fake_cluster, no_plugin, write_kubeconfig

PACKAGE = Path(__file__).parent.parent / "telepresence_py"
SWAPPED = (*access.OWNER_RIGHTS, "rollout")
MODELS = (*access.MODEL_RIGHTS, "rollout", None)
ASKED_FOR = {
    **{f"swap {kind} {files}": swap_rights(kind, files) for kind in SWAPPED for files in (False, True)},
    **{
        f"run {kind} {service}": run_rights(kind, service, kind is not None)
        for kind in MODELS
        for service in (False, True)
    },
    **{f"restore {kind}": restore_rights(kind) for kind in (*SWAPPED, None)},
}


def test_the_page_is_what_the_program_asks_for():
    """`python -m tests.rbac_page` writes it anew; read what changed."""
    assert rbac_page.DOCUMENT.read_text() == rbac_page.page()


def test_a_role_gives_its_rights_and_no_other():
    rights = swap_rights("deployment", True)
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": verbs}
        for group, resource, verbs in rbac_page.rules_of(rights)
    ]
    assert all(access.allowed_by(rules, right) for right in rights)
    assert sum(len(rule["verbs"]) for rule in rules) == len(set(rights))


@pytest.mark.parametrize("command", ASKED_FOR)
def test_each_right_that_is_taken_away_is_named(tmp_path, command):
    """Alone, with all others given."""
    rights = ASKED_FOR[command]

    async def main(cluster):
        choice = ClusterChoice(write_kubeconfig(tmp_path / "config", cluster.url))
        async with open_cluster(choice, no_plugin) as opened:
            for lacking in rights:
                cluster.allowed_rules = [
                    {"verbs": [one.verb], "apiGroups": [one.group], "resources": [one.resource]}
                    for one in rights
                    if one != lacking
                ]
                with pytest.raises(NoRights) as refused:
                    await require_rights(opened, rights)
                assert f'{lacking.verb} {lacking.rbac_resource} in namespace "shop"' in str(refused.value)

    with fake_cluster() as cluster:
        trio.run(main, cluster)


def test_every_request_in_the_code_is_of_a_right_that_is_listed():
    """As far as verb and resource stand there as words."""
    listed = {right for rights in ASKED_FOR.values() for right in rights}
    listed |= {right for right, _ in access.OPTIONAL_RIGHTS} | {*access.LIST_RIGHTS, *access.ACCOUNT_RIGHTS}
    found = {right for path in sorted(PACKAGE.rglob("*.py")) for right in requests_in(path)}
    assert len(found) > 10
    assert {one for one in found - listed if one.group != "authorization.k8s.io"} == set()


def requests_in(path):
    """The rights that `Call(VERB, RESOURCE, ...)` in that module stands for."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Call" and len(node.args) > 1):
            continue
        verb, resource, *rest = node.args
        known = getattr(calls, getattr(resource, "id", ""), None)
        if isinstance(verb, ast.Constant) and isinstance(known, Resource):
            sub = rest[1].value if len(rest) > 1 else ""
            yield Right(verb.value, known.plural + (f"/{sub}" if sub else ""), known.group)
