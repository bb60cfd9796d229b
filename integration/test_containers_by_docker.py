"""`--run-in` and `--build` by `--method docker`: the command is a container of docker's."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator

import pytest

from integration.probe.manifests import config_map
from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import MULTI_LINE, SERVICE_ACCOUNT, SINGLE_FILE, peers, settle, target
from integration.support.aftermath import assert_restored, processes_of, remember, sidecar_pods
from integration.support.cluster import Cluster
from integration.support.containers import IMAGE
from integration.support.docker import DockerProduct, docker_product
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.programs import Need
from integration.support.waiting import wait_until
from integration.test_containers import SERVE, start_again_and_end

_numbers = itertools.count()
BY_DOCKER = ("--method", "docker", "--run-in", IMAGE)


@pytest.fixture(scope="module")
def owner(townsman: Product, cluster: Cluster, need: Need, sidecar_image: None) -> Iterator[DockerProduct]:
    with docker_product(townsman, cluster, need) as product:
        yield product
        product.wait_no_container()
        assert not list((product.directory / "run").rglob("docker-*"))
    wait_until(lambda: not processes_of(product), 10, "every process has ended")


@pytest.fixture(scope="module")
def child(town: Namespace, owner: DockerProduct) -> Iterator[ShellChild]:
    """A shell in a container, which ends with 7; after it all is restored."""
    settle(town, *peers(), *target("docked"))
    before = remember(town, "docked")
    with shell_child(owner, "docked", *BY_DOCKER, "--env", "PATH=/bin:/sbin") as child:
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


def test_secrets_stand_in_no_command_line(child: ShellChild, owner: DockerProduct) -> None:
    assert child.run("true") == ("", 0)
    assert not [line for line in processes_of(owner) if "s3cret-of-the-test" in line]
    assert [line for line in processes_of(owner) if "--env=TOKEN" in line]


def test_files_host_name_and_users(child: ShellChild, town: Namespace) -> None:
    (pod,) = sidecar_pods(town, "docked")
    said, code = child.run(f"hostname; cat {SINGLE_FILE} {SERVICE_ACCOUNT}/namespace; echo; id -u; pwd")
    assert (said.splitlines(), code) == ([pod["metadata"]["name"], "green", town.name, "0", "/work"], 0)
    said, code = child.run("cat /etc/target/config/shape.txt; touch /etc/target/config/new")
    assert "and long" in said
    assert code != 0
    assert child.run("su worker -c 'cat /etc/target/config/colour'") == ("green", 0)
    assert child.run("grep alias.of.target /etc/hosts")[1] == 0


def test_what_may_be_written_is_a_copy_of_its_own(child: ShellChild) -> None:
    said, code = child.run(
        "cat /var/lib/target/link; mkdir /var/lib/target/own; touch /var/lib/target/own/it"
    )
    assert (said, code) == ("filled", 0)
    told, _, _after = child.swap.running.err.partition("Connected to ")
    assert "are copies of the container's own" in told


def test_a_copy_follows_its_config_map(child: ShellChild, town: Namespace) -> None:
    town.apply(config_map("docked-settings", {"colour": "red\n"}))

    def is_red() -> bool:
        # a kubelet looks after a pod's volumes at once when the pod changes
        town.kubectl("annotate", "pods", "-l", "app=docked", "--overwrite", f"looked={next(_numbers)}")
        return child.run("cat /etc/target/config/colour") == ("red", 0)

    wait_until(is_red, 60, "the container sees the change", every=1.0)


def test_names_and_addresses_lead_where_they_do_in_the_pod(child: ShellChild, town: Namespace) -> None:
    (pod,) = sidecar_pods(town, "docked")
    said, code = child.run("wget -qO- http://peer/from-container")
    assert code == 0, said
    answer = json.loads(said)
    assert answer["path"] == "/from-container"
    assert answer["peer"].removeprefix("::ffff:") in {one["ip"] for one in pod["status"]["podIPs"]}
    said, code = child.run("nslookup -type=a kubernetes.default.svc.cluster.local")
    assert code == 0, said
    said, code = child.run("wget -O- http://peer:9/")
    assert "refused" in said, "as connect() itself tells"


def test_a_request_to_the_service_and_to_this_laptops_localhost_reaches_the_container(
    child: ShellChild, town: Namespace
) -> None:
    assert child.run(SERVE)[1] == 0
    assert town.ask("http://docked/hello", seconds=30).strip() == "from the container"
    assert child.run("wget -qO- http://localhost:8080/hello") == ("from the container", 0)


def test_an_image_is_built_first_and_says_what_runs_and_keep_runs_it_again(owner: DockerProduct) -> None:
    directory = owner.directory / "source"
    directory.mkdir()
    steps = "COPY said /said\nRUN echo and by a step >>/said\nCMD cat /said; exit 9\n"
    (directory / "Dockerfile").write_text(f"FROM {IMAGE}\n{steps}")
    (directory / "said").write_text("out of the directory\n")
    running = owner.start("run", "--method", "docker", "--build", str(directory), "--keep")
    assert start_again_and_end(running) == ["out of the directory", "and by a step"] * 2


def test_what_it_cannot_do_is_refused_before_anything_is_touched(owner: DockerProduct) -> None:
    ended = owner.run("swap", "target", *BY_DOCKER, "--volume", "/var/lib/target=live", "--", "true")
    assert ended.code == 78
    assert "docker's daemon sees nothing that we mount" in ended.err
    ended = owner.run("run", "--method", "docker", "--run-in", "localhost/nowhere:1")
    assert ended.code == 66
    assert "docker pull localhost/nowhere:1" in ended.err


def test_sigterm_reaches_the_container_and_its_exit_code_comes_back(owner: DockerProduct) -> None:
    program = "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"
    running = owner.start("run", *BY_DOCKER, "--", "sh", "-c", program)
    running.wait_out("up", seconds=120)
    running.send(signal.SIGTERM)
    assert running.wait(seconds=120) == 5


def test_when_all_is_killed_no_container_is_left(owner: DockerProduct) -> None:
    others, sessions = owner.containers(), sessions_of(owner)
    running = owner.start("run", *BY_DOCKER, "--", "sh", "-c", "echo up; exec sleep 1000")
    running.wait_out("up", seconds=120)
    assert len(owner.containers()) == len(others) + 2, "the helper and the command"
    (session,) = sessions_of(owner) - sessions
    os.kill(session, signal.SIGKILL)
    running.send_group(signal.SIGKILL)
    running.wait()
    wait_until(lambda: owner.containers() == others, 60, "docker removed both", seen=owner.containers)


def sessions_of(product: Product) -> set[int]:
    return {
        int(line.partition(":")[0]) for line in processes_of(product) if "telepresence_py.session" in line
    }
