"""Fixtures of the integration tests. Everything a test makes is in a namespace and a directory of its own."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.probe.languages import Builder
from integration.probe.town import peers, settle, target
from integration.support.cluster import Cluster, cache_directory, named_cluster, own_cluster
from integration.support.namespaces import Namespace, make_namespace, remove_namespace
from integration.support.plain_user import GROUND, PlainUser, plain_user
from integration.support.product import Product, product_for
from integration.support.programs import Need, ensure
from integration.support.sidecar_image import ensure_sidecar_image

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored by what it starts with &
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup this one

LONG_FILES = (
    "test_run.py",
    "test_nothing_breaks.py",
    "test_dying.py",
    "test_link.py",
    "test_workload_kinds.py",
    "test_kubeconfigs.py",
    "test_keep_and_restart.py",
    "test_following.py",
    "test_rights.py",
    "test_program.py",
    "test_leftovers.py",
    "test_webhook.py",
    "test_workload_shapes.py",
    "test_terminal_programs.py",
    "test_sidecar_image.py",
    "test_inbound.py",
    "test_volumes_live.py",
    "test_volumes_in_place.py",
    "test_bad_input.py",
    "test_inside_network.py",
    "test_inside_environment_and_files.py",
)
"""From the longest on; what takes less than a minute or two is not worth telling."""

MakeNamespace = Callable[..., Namespace]
MakeProduct = Callable[..., Product]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--context", default="", help="use this context of your kubeconfig, and no other cluster"
    )
    parser.addoption(
        "--write-differences",
        action="store_true",
        help="write the differences between pod and command into docs/conformance.md",
    )

    parser.addoption(
        "--alone",
        default="",
        choices=("never", "only"),
        help="leave out the tests that must be alone on the cluster, so that the others can run side by side "
        "(pytest-xdist), or run them alone",
    )
    parser.addoption("--full", action="store_true", help="all cases of integration/faults, not a sample")
    parser.addoption("--seed", type=int, default=7, help="of that sample (%(default)s)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "own_cluster: loads images into or restarts parts of the cluster")
    config.addinivalue_line("markers", "alone: disturbs others, or measures what they would disturb")


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: {'all' if config.option.full else f'a sample, --seed {config.option.seed}'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    if chosen := config.getoption("alone"):
        others = [item for item in items if is_alone(item) != (chosen == "only")]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
    if config.getoption("context"):
        skip = pytest.mark.skip(reason="needs the project's own cluster, which --context leaves alone")
        for item in items:
            if item.get_closest_marker("own_cluster"):
                item.add_marker(skip)


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def _turn(item: pytest.Item) -> tuple[bool, int]:
    """Alone ones after all others; files that take long first, so that no worker begins one near the end."""
    name = item.path.name
    return is_alone(item), LONG_FILES.index(name) if name in LONG_FILES else len(LONG_FILES)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the time went, by file: LONG_FILES should tell the same."""
    spent: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                name = report.nodeid.partition("::")[0]
                spent[name] = spent.get(name, 0) + report.duration
    long = sorted((name for name in spent if spent[name] >= 30), key=lambda name: -spent[name])
    if long:
        terminalreporter.section("seconds of work by file, from 30 on")
        terminalreporter.write_line(", ".join(f"{Path(name).name} {spent[name]:.0f}" for name in long))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The project's own cluster, brought up unless it runs, or the one that --context names."""
    context = request.config.getoption("context")
    if context:
        return named_cluster(context)
    return own_cluster()


@pytest.fixture(scope="session")
def sidecar_image(cluster: Cluster) -> None:
    """The sidecar's image on every node; with --context it is the user's to put it there."""
    if cluster.is_own:
        ensure_sidecar_image()


@pytest.fixture(scope="session")
def user() -> PlainUser:
    """Whoever runs the product; never root."""
    return plain_user()


@pytest.fixture(scope="session")
def namespaces(cluster: Cluster) -> Iterator[MakeNamespace]:
    """`namespaces(purpose, pod_security="")`: a fresh namespace, removed when all tests are done.

    For fixtures of a wider scope than one test; a test alone asks for `namespace`.
    """
    made: list[Namespace] = []

    def make(purpose: str, pod_security: str = "") -> Namespace:
        made.append(make_namespace(cluster, purpose, pod_security))
        return made[-1]

    yield make
    for namespace in made:
        remove_namespace(namespace)


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A fresh namespace of this test; `@pytest.mark.parametrize("namespace", ["restricted"], indirect=True)`
    makes it enforce that Pod Security level."""
    purpose = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_")).strip("-")
    made = make_namespace(cluster, purpose[:30].strip("-"), getattr(request, "param", ""))
    yield made
    remove_namespace(made)


@pytest.fixture
def products(user: PlainUser, sidecar_image: None) -> Iterator[MakeProduct]:
    """`products(namespace)`: the product for a developer who may edit in that namespace alone.

    `products(namespace, role="view")` with another ClusterRole; `products(kubeconfig={...})` with any
    kubeconfig. Whatever they still run is ended with the test.
    """
    with contextlib.ExitStack() as made:

        def make(
            namespace: Namespace | None = None, role: str = "edit", kubeconfig: dict[str, Any] | None = None
        ) -> Product:
            if kubeconfig is None:
                assert namespace is not None, "a product needs a namespace or a kubeconfig"
                kubeconfig = namespace.developer_kubeconfig(role)
            return made.enter_context(product_for(user, kubeconfig))

        yield make


@pytest.fixture
def product(products: MakeProduct, namespace: Namespace) -> Product:
    """The product for a developer who may edit in this test's namespace."""
    return products(namespace)


@pytest.fixture(scope="session")
def town(namespaces: MakeNamespace) -> Namespace:
    """A namespace with `target`, whom tests swap, `peer`, with whom children talk, and customers."""
    namespace = namespaces("town")
    settle(namespace, *peers(), *target())
    namespace.ensure_customers_pod()
    return namespace


@pytest.fixture(scope="module")
def townsman(user: PlainUser, town: Namespace, sidecar_image: None) -> Iterator[Product]:
    """The product for a developer who may edit in `town`, for swaps that a module's tests share."""
    with product_for(user, town.developer_kubeconfig()) as product:
        yield product


@pytest.fixture(scope="session")
def need(cluster: Cluster) -> Need:
    """`need("java")`: it is on this machine, else it is installed; with --context the test is skipped."""
    return lambda name: ensure(name, may_install=cluster.is_own)


@pytest.fixture(scope="session")
def builder(user: PlainUser, need: Need) -> Builder:
    """What is compiled for the tests, where the plain user can run it."""
    is_roots = user.runs.is_relative_to(GROUND)
    return Builder(GROUND / "bin" if is_roots else cache_directory() / "built", need)
