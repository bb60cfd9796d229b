"""A command in a pod of its own: like a given workload or plain, with a Service or without."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integration.probe.asking import Probe
from integration.probe.models import COLOUR_FILE, KINDS, models
from integration.probe.swapping import python_probe
from integration.probe.town import settle
from integration.support.aftermath import assert_no_process_left, sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from integration.support.product import SECONDS, Finished, Product, Running, product_for
from integration.support.waiting import wait_until

MakeProduct = Callable[..., Product]
MakeNamespace = Callable[..., Namespace]
SOON_SECONDS = 25.0


@pytest.fixture(scope="module")
def quarter(namespaces: MakeNamespace) -> Namespace:
    """A namespace that enforces Pod Security `restricted`, with one object of every kind: `model`."""
    namespace = namespaces("run", "restricted")
    settle(namespace, *models())
    namespace.ensure_customers_pod()
    return namespace


@pytest.fixture(scope="module")
def runner(user: PlainUser, sidecar_image: None, quarter: Namespace) -> Iterator[Product]:
    with product_for(user, quarter.developer_kubeconfig()) as product:
        yield product


@pytest.fixture
def own(products: MakeProduct, quarter: Namespace) -> Iterator[Product]:
    """A product of the test's own, as a killed session leaves its record in the runtime directory."""
    yield products(quarter)
    assert_nothing_left(quarter)


def assert_nothing_left(namespace: Namespace, seconds: float = 60) -> None:
    """No pod and no Service of ours in any state, the one of the other tests' `api` aside."""

    def left() -> list[str]:
        found = [*sidecar_pods(namespace), *namespace.get("services", "-l", "telepresence-py/session")]
        return [thing["metadata"]["name"] for thing in found if thing["metadata"]["name"] != "shared"]

    wait_until(lambda: not left(), seconds, "nothing of ours is left", seen=left)


def serving(product: Product, *options: str, grace: str = "30s", listen: tuple[str, ...] = ()) -> Running:
    """`run OPTIONS` with the probe on HTTP 8080, and what else it shall `listen` on, as the child."""
    command = python_probe(product, "http:8080", *listen)
    return product.start("run", "--grace", grace, *options, "--", *command, pipe_stdout=True)


def end(running: Running) -> int:
    assert running.process.stdin is not None
    running.process.stdin.close()
    return running.wait()


@pytest.fixture(scope="module")
def shared(runner: Product, quarter: Namespace) -> Iterator[Running]:
    """A run with a Service, `shared`, on a port of its own, on a low one, and on one of UDP."""
    ports = ("--expose", "8080", "--expose", "8080:80", "--expose", "5353:53/udp")
    running = serving(runner, "--name", "shared", *ports, listen=("udp:5353",))
    running.wait_in_place()
    yield running
    if running.process.poll() is None:
        end(running)


def who(namespace: Namespace, url: str) -> str:
    return str(json.loads(namespace.ask(url))["who"])


# -- a plain pod -----------------------------------------------------------------------------------------


def test_a_plain_pod_lives_under_restricted_and_its_service_reaches_the_command(
    quarter: Namespace, shared: Running
) -> None:
    assert who(quarter, "http://shared:8080/") == "laptop"
    assert who(quarter, "http://shared/") == "laptop"


def test_its_service_brings_datagrams_to_the_command(quarter: Namespace, shared: Running) -> None:
    assert "shared:53/udp" in shared.err
    ask = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(5); "
    ask += "s.connect(('shared', 53)); s.send(b'who?'); print(s.recv(100).decode())"
    assert quarter.python_in_pod("customers", ask).strip() == "who?"


def test_the_command_has_the_pods_name_and_the_namespaces_services(
    quarter: Namespace, shared: Running
) -> None:
    seen = Probe(shared.process).ask("environment")
    assert seen["HOSTNAME"] == "shared"
    assert seen["MODEL_SERVICE_HOST"] == quarter.get("service", "model")["spec"]["clusterIP"]


def test_the_service_is_owned_by_the_pod(quarter: Namespace, shared: Running) -> None:
    service, pod = quarter.get("service", "shared"), quarter.get("pod", "shared")
    (owner,) = service["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Pod", pod["metadata"]["uid"])


def test_list_tells_a_run_of_this_machine_and_its_pod(runner: Product, shared: Running) -> None:
    told = json.loads(runner.run("list", "--output", "json").out)
    assert "run/shared" in [session["workload"] for session in told["sessions"]]
    assert ("shared", "run/shared", "live") in [
        (p["pod_name"], p["workload"], p["state"]) for p in told["pods"]
    ]


@pytest.mark.parametrize("options", [[], ["--expose", "8080"]])
def test_the_name_of_a_living_session_is_refused_and_whose_it_is_told(
    runner: Product, quarter: Namespace, shared: Running, options: list[str]
) -> None:
    ended = runner.run("run", "--name", "shared", *options, "--", "true", seconds=SOON_SECONDS)
    assert ended.code == 73
    assert runner.user.name in ended.err
    assert who(quarter, "http://shared:8080/") == "laptop"


def test_restore_all_spares_a_living_run(runner: Product, quarter: Namespace, shared: Running) -> None:
    assert runner.run("restore", "--all").code == 0
    assert who(quarter, "http://shared:8080/") == "laptop"


def test_the_exit_code_is_the_commands_and_nothing_is_left(quarter: Namespace, own: Product) -> None:
    ended = own.run("run", "--", "sh", "-c", "hostname; exit 7")
    assert ended.code == 7, ended.err
    assert ended.out.startswith(f"run-{own.user.name}")
    assert_nothing_left(quarter, 1)
    assert_no_process_left(own)


def test_a_name_is_free_again_once_the_run_is_over(quarter: Namespace, own: Product) -> None:
    for _ in range(2):
        ended = own.run("run", "--name", "again", "--expose", "8080", "--ready", "now", "--", "true")
        assert ended.code == 0, ended.err
        assert_nothing_left(quarter, 1)


# -- like a workload -------------------------------------------------------------------------------------


def test_a_pod_like_one_of_any_kind_gives_its_variables_and_files(quarter: Namespace, own: Product) -> None:
    """All kinds at once."""
    show = f'echo "$PLAIN,$TOKEN,$SET_colour,$(cat {COLOUR_FILE})"'
    runs = {kind: own.start("run", "--like", f"{kind}/model", "--", "sh", "-c", show) for kind in KINDS}
    ended = {kind: running.finish(120) for kind, running in runs.items()}
    assert {kind: one.code for kind, one in ended.items()} == dict.fromkeys(KINDS, 0), ended
    assert {one.out.strip() for one in ended.values()} == {"a value,s3cret,green,green"}


def test_a_pod_like_a_workload_is_taken_by_no_service_and_no_controller(
    quarter: Namespace, own: Product
) -> None:
    pods = {pod["metadata"]["uid"] for pod in quarter.pods("app=model")}
    running = serving(own, "--name", "beside", "--like", "deployment/model", "--expose", "8080")
    running.wait_in_place()
    pod = quarter.get("pod", "beside")
    assert set(pod["metadata"]["labels"]) == {"telepresence-py/session"}
    assert "ownerReferences" not in pod["metadata"]
    assert who(quarter, "http://beside:8080/") == "laptop"
    assert {who(quarter, "http://model/") for _ in range(10)} == {"cluster"}
    assert {pod["metadata"]["uid"] for pod in quarter.pods("app=model")} == pods
    assert end(running) == 0


def test_a_pod_has_the_service_account_that_is_asked_for(quarter: Namespace, own: Product) -> None:
    quarter.kubectl("create", "serviceaccount", "robot")
    show = ("sh", "-c", "cat /var/run/secrets/kubernetes.io/serviceaccount/token")
    models: list[list[str]] = [[], ["--like", "model"]]
    runs = [own.start("run", *like, "--serviceaccount", "robot", "--", *show) for like in models]
    for running in runs:
        ended = running.finish()
        assert ended.code == 0, ended.err
        assert subject(ended.out) == f"system:serviceaccount:{quarter.name}:robot"


def subject(token: str) -> str:
    """Of a JSON Web Token, not verified."""
    body = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"])


# -- ends that nobody wished for -------------------------------------------------------------------------


def kill(running: Running) -> None:
    os.kill(running.session_pid(), signal.SIGKILL)
    running.send_group(signal.SIGKILL)
    running.wait()


def wait_finished(namespace: Namespace, name: str) -> None:
    def phase() -> Any:
        return namespace.get("pod", name)["status"]["phase"]

    wait_until(lambda: phase() in ("Succeeded", "Failed"), SECONDS, f"pod {name} ended by itself", seen=phase)


@pytest.mark.parametrize("step", ["Created pod", "Created service", "In place"])
def test_what_a_killed_run_leaves_is_removed_by_the_next_one(
    quarter: Namespace, own: Product, step: str
) -> None:
    running = serving(own, "--name", "killed", "--expose", "8080", grace="5s")
    running.wait_err(step)
    kill(running)
    wait_finished(quarter, "killed")
    assert own.run("run", "--", "true").code == 0
    assert_nothing_left(quarter)


def test_what_a_killed_run_leaves_is_removed_by_its_name(quarter: Namespace, own: Product) -> None:
    running = serving(own, "--name", "killed", "--expose", "8080", grace="10m")
    running.wait_in_place()
    kill(running)

    def state() -> Any:
        told = own.run("list", "--output", "json")
        return {pod["workload"]: pod["state"] for pod in json.loads(told.out)["pods"]}["run/killed"]

    wait_until(lambda: state() == "dead", SECONDS, "the sidecar misses its session", seen=state)
    restored = own.run("restore", "run/killed")
    assert restored.code == 0, restored.err
    assert "Removed run/killed" in restored.err


def test_a_command_that_crashes_and_starts_again_keeps_its_pod_and_its_service(
    quarter: Namespace, own: Product
) -> None:
    options = ("--restart", "--watch", own.source("integration/probe/probe.sh"))
    running = serving(own, "--name", "restarted", "--expose", "8080", *options)
    running.wait_in_place()
    before = quarter.get("pod", "restarted")["metadata"]["uid"]
    Probe(running.process).tell("die", status=3)
    assert who(quarter, "http://restarted:8080/") == "laptop"
    assert "the command exited with 3" in running.err
    assert quarter.get("pod", "restarted")["metadata"]["uid"] == before
    assert end(running) == 0


def test_a_pod_that_is_deleted_ends_the_session_with_75_and_one_sentence(
    quarter: Namespace, own: Product
) -> None:
    running = serving(own, "--name", "evicted", "--expose", "8080")
    running.wait_in_place()
    quarter.kubectl("delete", "pod", "evicted", "--wait=false")
    assert running.wait() == 75
    assert "the pod evicted of this session was deleted" in running.err.splitlines()[-1]


def test_an_interrupt_removes_the_pod_also_while_it_starts(quarter: Namespace, own: Product) -> None:
    steps = {"early": "Created pod", "late": "Connected to"}
    # not Python: interrupted while it starts, that ends with 1
    runs = {name: own.start("run", "--name", name, "--expose", "8080", "--", "sleep", "60") for name in steps}
    for name, running in runs.items():
        running.wait_err(steps[name])
        running.send_group(signal.SIGINT)
    assert {name: running.wait() for name, running in runs.items()} == {"early": 130, "late": 130}
    assert_nothing_left(quarter, 1)


# -- refusals --------------------------------------------------------------------------------------------


def assert_refused(ended: Finished, code: int, *words: str) -> None:
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    sentence = ended.err.strip().splitlines()[-1]
    assert sentence.startswith("telepresence-py: ")
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--expose", "http"], ["--expose", "http", "port"]),
        (["--expose", "1:2:3"], ["--expose", "8081:8080"]),
        (["--expose", "0"], ["--expose", "65535"]),
        (["--expose", "53/tpc"], ["--expose", "53/tcp"]),
        (["--expose", "8080", "--expose", "9000:8080"], ["--expose", "8080", "twice"]),
        (["--name", "Api"], ["--name", "Api", "lower-case"]),
        (["--name", "1st"], ["--name", "1st", "letter"]),
        (["--name", "a" * 64], ["--name", "63"]),
        (["--like", "a/b/c"], ["a/b/c"]),
        (["--like", "depolyment/model"], ["depolyment", "deployment"]),
        (["--exposed", "8080"], ["--exposed", "--expose"]),
    ],
)
def test_a_malformed_command_line_is_usage(runner: Product, arguments: list[str], words: list[str]) -> None:
    assert_refused(runner.run("run", *arguments, "--", "true"), 2, *words)


def test_an_object_that_is_not_there_is_named_with_the_nearest(own: Product) -> None:
    """Of every kind, all at once."""
    runs = {kind: own.start("run", "--like", f"{kind}/modle", "--", "true") for kind in KINDS}
    for kind, running in runs.items():
        assert_refused(running.finish(60), 66, f'{kind} "modle"', '"model"')


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--like", "service/model"], 2, ["service", "deployment"]),
        (["--like", "rollout/model"], 2, ["rollout", "deployment"]),
        (["--like", "model:mian"], 66, ["mian", "main"]),
        (["--serviceaccount", "defualt"], 66, ["defualt", "default"]),
        (["--name", "customers"], 73, ["pod customers", "--name"]),
        (["--name", "model", "--expose", "8080"], 73, ["model", "--name"]),
        (["--image", "localhost/no-such-sidecar:1"], 78, ["localhost/no-such-sidecar:1", "--image"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_left(
    own: Product, arguments: list[str], code: int, words: list[str]
) -> None:
    assert_refused(own.run("run", *arguments, "--", "true", seconds=SOON_SECONDS), code, *words)


def test_a_claim_for_one_pod_alone_is_refused_with_the_reason(quarter: Namespace, own: Product) -> None:
    claim = {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Mi"}}}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "alone"}}]
    template = {"spec": {"containers": [{"name": "main", "image": "none"}], "volumes": volumes}}
    labelled = {"metadata": {"labels": {"app": "alone"}}, **template}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "alone"}}, "template": labelled}
    quarter.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "alone"}, "spec": claim},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "alone"}, "spec": spec},
    )
    ended = own.run("run", "--like", "alone", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 78, "alone", "ReadWriteOncePod")


def test_a_viewer_may_not_run(products: MakeProduct, quarter: Namespace) -> None:
    ended = products(quarter, role="view").run("run", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 77, "create", "pods")


def test_the_rights_that_are_documented_are_all_that_is_needed(
    products: MakeProduct, quarter: Namespace
) -> None:
    """Without the right to create Services everything but --expose works."""
    rules: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]},
    ]
    services = {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "create"]}
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]}
    product = products(kubeconfig=quarter.kubeconfig_with(rules))
    plain = product.start("run", "--", "true")
    more = products(kubeconfig=quarter.kubeconfig_with([*rules, services, jobs]))
    like = more.start("run", "--like", "job/model", "--expose", "8080", "--ready", "now", "--", "true")
    refused = product.run("run", "--expose", "8080", "--", "true", seconds=SOON_SECONDS)
    assert_refused(refused, 77, "services")
    assert (plain.wait(), like.wait()) == (0, 0), plain.err + like.err
