from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import trio

from telepresence_py.isolation import limits_of
from telepresence_py.model.errors import CommandNotFound, PreconditionFailed
from telepresence_py.model.events import Event
from telepresence_py.model.intent import ClusterChoice, LocalhostChoice, RunIntent
from telepresence_py.model.network import Mount, PortMap
from telepresence_py.session.preflight import require_beside, require_command, require_isolation


def intent(method: str, pod_localhost: tuple[int, ...] = ()) -> RunIntent:
    localhost = LocalhostChoice(pod_localhost=pod_localhost)
    return RunIntent(
        cluster=ClusterChoice(),
        name=None,
        model=None,
        service_account=None,
        exposed=(),
        command=("true",),
        holder="me@here",
        method=method,
        localhost=localhost,
    )


MOUNTS = (Mount("/scripts", "scripts", "configMap"),)


def test_a_path_that_only_the_pod_can_have_is_accepted():
    require_command(("/scripts/start.sh", "now"), MOUNTS)


def test_a_name_is_left_to_the_search_path():
    require_command(("python3",), ())


@pytest.mark.parametrize("path", ["/nowhere/start.sh", "./nowhere/start.sh", "/scripts-of-others/start.sh"])
def test_a_path_that_is_nowhere_is_refused(path):
    with pytest.raises(CommandNotFound, match=r"nowhere|others"):
        require_command((path,), MOUNTS)


def test_a_script_whose_interpreter_is_nowhere_is_refused(tmp_path):
    script = tmp_path / "script"
    script.write_text("#! /nowhere/python -u\n")
    script.chmod(0o755)
    with pytest.raises(CommandNotFound, match="run by '/nowhere/python'"):
        require_command((str(script),), MOUNTS)
    for interpreter in ("/bin/sh", "/scripts/python"):
        script.write_text(f"#!{interpreter}\n")
        require_command((str(script),), MOUNTS)


def test_beside_the_cli_a_path_in_a_volume_of_the_pod_is_nowhere():
    require_beside("userns", ("/scripts/start.sh",), MOUNTS, ())
    with pytest.raises(CommandNotFound):
        require_beside("proxy", ("/scripts/start.sh",), MOUNTS, ())


def test_beside_the_cli_a_port_that_the_laptop_has_is_refused_with_the_option_that_helps():
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        ports = (PortMap(8080, theirs.getsockname()[1]),)
        require_beside(None, ("true",), (), ports)
        require_beside("proxy", ("true",), (), (replace(ports[0], protocol="UDP"),))
        with pytest.raises(PreconditionFailed, match="-p OTHER:8080"):
            require_beside("proxy", ("true",), (), ports)
    require_beside("proxy", ("true",), (), ports)


def test_what_a_method_cannot_do_is_told_beforehand():
    events: list[Event] = []
    trio.run(require_isolation, intent("proxy"), events.append)
    assert [event.text.lower() for event in events] == [limit.lower() for limit in limits_of("proxy")]


def test_what_redirection_cannot_keep_is_refused_before_anything_is_touched():
    with pytest.raises(PreconditionFailed, match="--pod-localhost 5432"):
        trio.run(require_isolation, intent("redirect", pod_localhost=(5432,)), lambda _event: None)
    trio.run(require_isolation, intent("userns", pod_localhost=(5432,)), lambda _event: None)
