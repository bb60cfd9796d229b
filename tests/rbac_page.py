"""docs/rbac.md, written from the lists by which the program asks for rights (cluster/access.py).

`python -m tests.rbac_page` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from telepresence_py.cluster import access
from telepresence_py.cluster.access import Right

DOCUMENT = Path(__file__).parents[1] / "docs" / "rbac.md"
TYPICAL = "deployment"

INTRODUCTION = """\
# Rights

<!-- written by `python -m tests.rbac_page` from telepresence_py/cluster/access.py: change that -->

The ClusterRole `edit`, bound in the one namespace, is enough for every command and option. Where somebody
shall have less, these Roles give exactly what a command needs. It asks for all of that beforehand, by one
request, and names the first right that is missing (verb, resource, namespace; exit code 77) before anything
is touched. Nothing outside of the namespace is needed, no admin and no CustomResourceDefinition.

    kubectl apply -n NAMESPACE -f -
    kubectl create rolebinding ann-swaps -n NAMESPACE --role=telepresence-py-swap --user=ann
"""

ROLES = {
    "swap": (
        "`swap` of a deployment",
        access.swap_rights(TYPICAL),
    ),
    "run": (
        "`run` in a plain pod",
        access.run_rights(None, with_service=False),
    ),
    "list": (
        "`list`",
        access.LIST_RIGHTS,
    ),
    "restore": (
        "`restore` of a deployment, whosever session left it",
        access.restore_rights(TYPICAL),
    ),
}
"""By the end of a Role's name: what it is for, and what it gives."""

FREE = """\
`restore` removes what a `run` left by the same Role, without its first two rules and without `patch`.
`status` asks the sessions of this machine and no cluster; `sidecar` needs no right of it. `--dry-run` needs
what the command needs without it, and so tells what is missing. The end of a session needs no more than its
beginning, and when it was killed, nobody's rights: its pods end by themselves.
"""

OTHERWISE = "## Other kinds, and options"
OPTIONAL = """\
## Made use of, and not needed

Without one of these a command does the same, and tells less."""


def page() -> str:
    """The whole document."""
    roles = [
        f"## {title}\n\n```yaml\n{role_manifest(name, rights)}```\n"
        for name, (title, rights) in ROLES.items()
    ]
    tables = (
        f"{OTHERWISE}\n\n{table(('for', 'rights'), other_rows())}",
        f"{OPTIONAL}\n\n{table(('right', 'what it tells'), optional_rows())}",
    )
    return "\n".join((INTRODUCTION, *roles, FREE, *tables))


def role_manifest(name: str, rights: Iterable[Right]) -> str:
    """YAML of a Role that gives these."""
    lines = [
        "apiVersion: rbac.authorization.k8s.io/v1",
        "kind: Role",
        f"metadata: {{name: telepresence-py-{name}}}",
        "rules:",
    ]
    for group, resource, verbs in rules_of(rights):
        lines.append(f'- {{apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{", ".join(verbs)}]}}')
    return "\n".join(lines) + "\n"


def rules_of(rights: Iterable[Right]) -> list[tuple[str, str, list[str]]]:
    """Group, resource and verbs, in the order of their first mention."""
    rules: dict[tuple[str, str], list[str]] = {}
    for right in dict.fromkeys(rights):
        rules.setdefault((right.group, right.resource), []).append(right.verb)
    return [(group, resource, verbs) for (group, resource), verbs in rules.items()]


def words(rights: Iterable[Right]) -> str:
    """get, list `pods`; get `deployments.apps`"""
    return "; ".join(
        f"{', '.join(verbs)} `{Right('', resource, group).rbac_resource}`"
        for group, resource, verbs in rules_of(rights)
    )


def other_rows() -> Iterator[tuple[str, str]]:
    """What differs from the Roles above, told by difference from what they give."""
    usual = set(access.swap_rights(TYPICAL))
    instead = "instead of the first two rules of both `swap` and `restore`: "
    for kind in access.OWNER_RIGHTS:
        if kind != TYPICAL:
            own = [right for right in access.swap_rights(kind) if right not in usual]
            yield f"{kind}/NAME without a parent", instead + words((*own, *access.ACCOUNT_RIGHTS))
    named = [right for right in access.swap_rights("replicaset") if right not in usual]
    yield "replicaset/NAME of a deployment", f"besides what the deployment needs: {words(named)}"
    custom = [right for right in access.swap_rights("rollout") if right not in access.POD_RIGHTS]
    yield "rollout/NAME, or another custom resource", instead + words(custom)
    yield "`--file`", words(access.FILE_RIGHTS)
    plain = access.run_rights(None, with_service=False)
    exposed = [r for r in access.run_rights(None, with_service=True) if r not in plain]
    yield "`run --expose`", words(exposed)
    for kind in (*access.MODEL_RIGHTS, "rollout"):
        like = [r for r in access.run_rights(kind, with_service=False) if r not in plain]
        yield f"`run --like {kind}/NAME`", words(like)


def optional_rows() -> Iterator[tuple[str, str]]:
    told: dict[str, list[Right]] = {}
    for right, what in access.OPTIONAL_RIGHTS:
        told.setdefault(what, []).append(right)
    for what, rights in told.items():
        yield words(rights), what


def table(columns: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {one} | {other} |" for one, other in (columns, *rows)]
    return "\n".join([lines[0], "|---|---|", *lines[1:]]) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(page(), encoding="utf-8")
