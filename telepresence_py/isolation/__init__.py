"""How one child, and only it, sees the pod's world: network, names, files.

May touch namespaces, mounts, nftables, each only inside namespaces of our own; and, at the end removed, empty
mount points in directories that are the user's (`placeholders`). Must not know tunnels, forwarding or the
cluster. One module per method behind one table; methods do not import each other. This module is imported by
the agent too, which must start fast: hence the imports inside functions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from telepresence_py.isolation.facts import HostFacts
    from telepresence_py.isolation.inside import Inside
    from telepresence_py.model.events import Report
    from telepresence_py.model.world import NetworkView

__all__ = ["METHODS", "Method", "choose", "enter"]

Enter = Callable[["NetworkView", Callable[[str], None]], AbstractAsyncContextManager["Inside"]]


class Method(NamedTuple):
    """One way to isolate. `hindrance` judges from facts alone why it cannot work here, None if it may;
    `enter` makes it true, or raises StepRefused and has changed nothing."""

    name: str
    hindrance: Callable[[HostFacts], str | None]
    enter: Enter


def _not_linux(facts: HostFacts) -> str | None:
    return None if facts.platform == "linux" else f"namespaces need Linux, this is {facts.platform}"


def _enter_userns(view: NetworkView, notice: Callable[[str], None]) -> AbstractAsyncContextManager[Inside]:
    from telepresence_py.isolation import userns

    return userns.enter(view, notice)


METHODS: tuple[Method, ...] = (Method("user namespace with tproxy", _not_linux, _enter_userns),)
"""In the order in which they are tried."""


def choose(facts: HostFacts, methods: Sequence[Method] = METHODS) -> tuple[list[Method], list[str]]:
    """Those worth trying here, in their order; and why each of the others is not."""
    hindrances = [(method, method.hindrance(facts)) for method in methods]
    worth_trying = [method for method, hindrance in hindrances if hindrance is None]
    return worth_trying, [hindrance for _method, hindrance in hindrances if hindrance is not None]


@asynccontextmanager
async def enter(
    view: NetworkView, report: Report, methods: Sequence[Method] = METHODS
) -> AsyncIterator[Inside]:
    """The child's world by the first method that works, until this is left (trio).

    Each method's whole set-up is its probe. PreconditionFailed, when none works, names the step that failed
    and its cure.
    """
    from telepresence_py.isolation.facts import gather
    from telepresence_py.isolation.refusals import explain
    from telepresence_py.isolation.steps import StepRefused
    from telepresence_py.model.errors import PreconditionFailed
    from telepresence_py.model.events import Event, Level

    def notice(text: str) -> None:
        report(Event("isolation-notice", text, Level.NOTICE))

    facts = gather()
    worth_trying, reasons = choose(facts, methods)
    for method in worth_trying:
        async with AsyncExitStack() as stack:
            try:
                inside = await stack.enter_async_context(method.enter(view, notice))
            except StepRefused as refused:
                reasons.append(explain(refused.refusal, facts))
                continue
            report(Event("isolated", f"isolated by {method.name}", Level.DETAIL, {"method": method.name}))
            yield inside
            return
    raise PreconditionFailed("; ".join(reasons))
