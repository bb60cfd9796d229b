"""`--run-in` and `--build`: the command is a container of rootless podman's, in the pod's place."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import MULTI_LINE, SERVICE_ACCOUNT, SINGLE_FILE, peers, settle, target
from integration.support.aftermath import assert_restored, processes_of, remember, sidecar_pods
from integration.support.cluster import Cluster
from integration.support.containers import IMAGE, ContainerProduct, container_product, ensure_podman
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from integration.support.product import Running, process_lives
from integration.support.programs import Need
from integration.support.waiting import wait_until

SERVE = "mkdir -p /tmp/www && echo from the container >/tmp/www/hello && httpd -p 8080 -h /tmp/www"


@pytest.fixture(scope="module")
def owner(
    cluster: Cluster, user: PlainUser, town: Namespace, need: Need, sidecar_image: None
) -> Iterator[ContainerProduct]:
    ensure_podman(need, may_install=cluster.is_own)
    with container_product(user, town.developer_kubeconfig()) as product:
        yield product
        wait_until(lambda: not product.containers(), 60, "every container is gone")
        assert not list((product.directory / "run").rglob("container-*"))
    wait_until(lambda: not processes_of(product), 10, "every process has ended")


@pytest.fixture(scope="module")
def child(town: Namespace, owner: ContainerProduct) -> Iterator[ShellChild]:
    """A shell in a container, which ends with 7; after it all is restored."""
    settle(town, *peers(), *target("contained"))
    before = remember(town, "contained")
    with shell_child(owner, "contained", "--run-in", IMAGE, "--env", "PATH=/bin:/sbin") as child:
        yield child
        stdin = child.swap.running.process.stdin
        assert stdin is not None
        stdin.write(b"exit 7\n")
        assert child.swap.running.wait(seconds=120) == 7
    assert_restored(before)


def test_variables_are_those_of_pod_and_image_byte_for_byte(child: ShellChild) -> None:
    said, code = child.run('echo "$PLAIN,$TOKEN,$OF_IMAGE,$PATH"; echo "$MULTI_LINE"; env | grep -c ^XDG_')
    assert said.splitlines()[0] == "a value,s3cret-of-the-test,yes,/bin:/sbin"
    assert MULTI_LINE.strip() in said
    assert said.splitlines()[-1] == "0", "none is the laptop's"
    assert code == 1


def test_secrets_stand_in_no_command_line(child: ShellChild, owner: ContainerProduct) -> None:
    assert child.run("true") == ("", 0)
    assert not [line for line in processes_of(owner) if "s3cret-of-the-test" in line]
    assert [line for line in processes_of(owner) if "--env=TOKEN" in line]


def test_files_host_name_and_users(child: ShellChild, town: Namespace) -> None:
    (pod,) = sidecar_pods(town, "contained")
    said, code = child.run(f"hostname; cat {SINGLE_FILE} {SERVICE_ACCOUNT}/namespace; echo; id -u; pwd")
    assert (said.splitlines(), code) == ([pod["metadata"]["name"], "green", town.name, "0", "/work"], 0)
    said, code = child.run("cat /etc/target/config/shape.txt; touch /etc/target/config/new")
    assert "and long" in said
    assert code != 0
    assert child.run("grep alias.of.target /etc/hosts")[1] == 0


def test_a_volume_of_the_pod_is_written_in_place_by_another_user_of_the_image_too(child: ShellChild) -> None:
    said, code = child.run(
        "cat /var/lib/target/link; echo new >/var/lib/target/by-container; su worker -c id"
    )
    assert code == 0, said
    assert said.splitlines()[0] == "filled"
    assert "1234" in said
    said, code = child.run("su worker -c 'cat /var/lib/target/by-container'")
    assert (said, code) == ("new", 0)


def test_names_and_addresses_lead_where_they_do_in_the_pod(child: ShellChild, town: Namespace) -> None:
    (pod,) = sidecar_pods(town, "contained")
    said, code = child.run("wget -qO- http://peer/from-container")
    assert code == 0, said
    answer = json.loads(said)
    assert answer["path"] == "/from-container"
    assert answer["peer"].removeprefix("::ffff:") in {one["ip"] for one in pod["status"]["podIPs"]}
    said, code = child.run("nslookup -type=a kubernetes.default.svc.cluster.local")
    assert code == 0, said
    assert child.run("wget -qO- http://peer:9/")[1] != 0


def test_a_request_to_the_service_and_to_this_laptops_localhost_reaches_the_container(
    child: ShellChild, town: Namespace, owner: ContainerProduct
) -> None:
    assert child.run(SERVE)[1] == 0
    assert town.ask("http://contained/hello", seconds=30).strip() == "from the container"
    assert child.run("wget -qO- http://localhost:8080/hello") == ("from the container", 0)


def test_podman_of_another_terminal_knows_it(child: ShellChild, owner: ContainerProduct) -> None:
    (name,) = owner.containers()
    assert owner.podman("exec", name, "sh", "-c", 'echo "$PLAIN"').strip() == "a value"


def test_without_a_command_the_image_says_what_runs_and_keep_runs_it_again(owner: ContainerProduct) -> None:
    running = owner.start("run", "--run-in", IMAGE, "--keep")
    said = start_again_and_end(running)
    assert said == ["by the image itself"] * 2


def start_again_and_end(running: Running) -> list[str]:
    """What a kept command said that ends with 9, and was started once more."""
    asks = "starts it again, kill"
    told = running.wait_err(rf"kill -USR1 (\d+) {asks}")
    os.kill(int(told[1]), signal.SIGUSR1)
    wait_until(lambda: running.err.count(asks) == 2, 120, "it ended again", seen=lambda: running.err)
    running.send(signal.SIGTERM)
    assert running.wait() == 9
    return running.out.splitlines()


def test_an_image_is_built_first_and_one_that_fails_stops_everything(owner: ContainerProduct) -> None:
    directory = owner.directory / "source"
    directory.mkdir()
    steps = "COPY said /said\nRUN echo and by a step >>/said\nCMD cat /said\n"
    (directory / "Containerfile").write_text(f"FROM {IMAGE}\n{steps}")
    (directory / "said").write_text("out of the directory\n")
    ended = owner.run("run", "--build", str(directory), seconds=120)
    assert (ended.out.splitlines(), ended.code) == (["out of the directory", "and by a step"], 0), ended.err
    (directory / "Containerfile").write_text(f"FROM {IMAGE}\nCOPY nothing /said\n")
    ended = owner.run("run", "--build", str(directory), seconds=120)
    assert ended.code == 78
    assert "nothing in the cluster was touched" in ended.err
    assert "pod of its own" not in ended.err


def test_a_session_that_is_killed_leaves_no_container(owner: ContainerProduct) -> None:
    others = owner.containers()
    running = owner.start("run", "--run-in", IMAGE, "--", "sh", "-c", "echo up; exec sleep 1000")
    running.wait_out("up", seconds=120)
    assert len(owner.containers()) == len(others) + 1
    session = running.session_pid()
    running.send_group(signal.SIGKILL)
    running.wait()
    wait_until(
        lambda: owner.containers() == others, 60, "podman removed the container", seen=owner.containers
    )
    wait_until(lambda: not process_lives(session), 60, "the session has ended")


def test_sigterm_reaches_the_container_and_its_exit_code_comes_back(owner: ContainerProduct) -> None:
    program = "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"
    running = owner.start("run", "--run-in", IMAGE, "--", "sh", "-c", program)
    running.wait_out("up", seconds=120)
    running.send(signal.SIGTERM)
    assert running.wait(seconds=120) == 5


@pytest.fixture(scope="module")
def joined(town: Namespace, owner: ContainerProduct) -> Iterator[ShellChild]:
    """A shell of the laptop by `--method podman`, which ends with 7."""
    settle(town, *peers(), *target("joined"))
    before = remember(town, "joined")
    with shell_child(owner, "joined", "--method", "podman") as child:
        yield child
        stdin = child.swap.running.process.stdin
        assert stdin is not None
        stdin.write(b"exit 7\n")
        assert child.swap.running.wait(seconds=120) == 7
    assert_restored(before)


def test_by_the_method_alone_a_command_is_root_of_many_users(
    joined: ShellChild, owner: ContainerProduct
) -> None:
    told, _, _after = joined.swap.running.err.partition("Connected to ")
    assert "root inside" in told
    said, code = joined.run("id -u; it=$(mktemp); chown 1234 $it; stat -c %u $it; rm $it")
    assert (said.split(), code) == (["0", "1234"], 0)
    assert joined.run("setpriv --reuid 1234 --clear-groups cat /var/lib/target/link") == ("filled", 0)


def test_by_the_method_alone_names_files_and_connections_are_the_pods(
    joined: ShellChild, town: Namespace, owner: ContainerProduct
) -> None:
    (pod,) = sidecar_pods(town, "joined")
    said, code = joined.run(f"hostname; cat {SINGLE_FILE} {SERVICE_ACCOUNT}/namespace")
    assert (said.splitlines(), code) == ([pod["metadata"]["name"], "green", town.name], 0)
    said, code = joined.run("curl -sS http://peer/by-podman")
    assert code == 0, said
    assert json.loads(said)["path"] == "/by-podman"
    assert joined.run("curl -sS http://peer:9/")[1] == 7, "refused, as connect() itself tells"
    probe = owner.source("integration/probe/probe.py")
    _, code = joined.run(f"PROBE_WHO=laptop {owner.python} {probe} serve http:8080 & server=$!")
    assert code == 0
    answer = json.loads(town.ask("http://joined/hello", seconds=30))
    assert (answer["who"], answer["path"]) == ("laptop", "/hello")
    assert joined.run("kill -9 $server")[1] == 0
