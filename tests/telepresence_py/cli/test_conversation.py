"""The CLI around a child, without a terminal, against the fake session process."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.fakes.swapping import Swapping
from tests.fakes.terminal import DEADLINE_SECONDS
from tests.fakes.waiting import wait_until

COUNTING = """
import os, signal, sys
seen = []
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
    signal.signal(number, lambda number, _frame: seen.append(signal.Signals(number).name))
print("ready", os.getpid(), flush=True)
for line in sys.stdin:
    print(" ".join(seen), flush=True)
"""


@pytest.fixture
def swapping(tmp_path):
    one = Swapping(tmp_path)
    yield one
    one.close()


def test_the_exit_code_is_the_childs_after_the_restore(swapping):
    code, out, _err = swapping.finish("sh", "-c", "echo served; exit 7")
    assert (code, out) == (7, "served\n")
    assert swapping.heard_tags() == ["swap", "child-started", "child-ended", "restored"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_a_signal_ended_ends_the_cli_by_it_too(swapping, number):
    code, _out, _err = swapping.finish("sh", "-c", f"kill -{number.value} $$")
    assert code == -number
    assert swapping.heard()[2] == {"do": "child-ended", "status": -number}


def test_standard_output_is_the_childs_alone_and_standard_input_reaches_it(swapping):
    process = swapping.begin("cat")
    out, err = process.communicate("one\ntwo\n", timeout=DEADLINE_SECONDS)
    assert out == "one\ntwo\n"
    assert "telepresence-py: in place" in err


def test_the_child_has_the_working_directory_and_the_environment_that_the_session_gives(swapping, tmp_path):
    command = ("sh", "-c", 'pwd; echo "$FROM_POD"')
    code, out, _err = swapping.finish(*command, cwd=str(tmp_path), environment={"FROM_POD": "a\nb"})
    assert code == 0
    assert out == f"{tmp_path}\na\nb\n"


def test_a_working_directory_that_the_pod_hides_is_told(swapping, tmp_path):
    hidden = tmp_path / "hidden"
    (hidden / "work").mkdir(parents=True)
    code, out, err = swapping.finish("pwd", cwd=str(hidden / "work"), namespaces=True, hidden=str(hidden))
    assert (code, out) == (0, "/\n")
    assert f"{hidden}/work is hidden by the pod's files; the command began in /" in err


def test_the_child_is_in_the_sessions_namespaces_without_their_rights(swapping):
    _code, out, _err = swapping.finish(
        "sh", "-c", "hostname; echo $$; id -u; ls /proc | head -1", namespaces=True
    )
    hostname, pid, uid, first_pid = out.split()
    assert (hostname, uid, first_pid) == ("fake-pod", str(os.geteuid()), "1")
    assert int(pid) < 100
    if os.geteuid() != 0:
        _code, out, _err = swapping.finish("grep", "CapEff", "/proc/self/status", namespaces=True)
        assert int(out.split()[1], 16) == 0


def test_without_a_command_the_users_shell_is_run(swapping):
    swapping.environment["SHELL"] = "/bin/echo"
    code, out, _err = swapping.finish()
    assert (code, out) == (0, "\n")


def test_the_child_gets_no_signal_ignored_or_blocked_by_us(swapping):
    _code, out, _err = swapping.finish("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    assert [line.split()[1] for line in out.splitlines()] == ["0" * 16, "0" * 16]


def test_what_the_caller_ignored_stays_ignored_in_the_child(swapping):
    swapping.ignored = ("HUP",)
    _code, out, _err = swapping.finish("grep", "SigIgn", "/proc/self/status")
    assert int(out.split()[1], 16) == 1 << (signal.SIGHUP - 1)


def test_a_signal_to_the_cli_alone_is_forwarded_once(swapping):
    process = swapping.begin(sys.executable, "-c", COUNTING)
    assert process.stdout.readline().startswith("ready")
    process.send_signal(signal.SIGTERM)
    _wait_until_forwarded(process, "SIGTERM")
    out, _err = process.communicate("end\n", timeout=DEADLINE_SECONDS)
    assert out.split()[-1:] == ["SIGTERM"]


def test_a_signal_to_the_whole_group_is_not_doubled(swapping):
    process = swapping.begin(sys.executable, "-c", COUNTING)
    assert process.stdout.readline().startswith("ready")
    for times in range(1, 6):
        os.killpg(process.pid, signal.SIGTERM)
        wait_until(lambda: not _pending(process.pid), "CLI and witness take the signal")
        # Python, too, makes one of two signals that came before its handler ran
        _wait_until_forwarded(process, " ".join(["SIGTERM"] * times))
    process.send_signal(signal.SIGUSR1)
    _wait_until_forwarded(process, "SIGUSR1")
    out, _err = process.communicate("end\n", timeout=DEADLINE_SECONDS)
    assert out.splitlines()[-1].split() == ["SIGTERM"] * 5 + ["SIGUSR1"]


def test_a_signal_after_one_to_the_whole_group_is_forwarded_again(swapping):
    process = swapping.begin(sys.executable, "-c", COUNTING)
    assert process.stdout.readline().startswith("ready")
    os.killpg(process.pid, signal.SIGHUP)
    wait_until(lambda: not _pending(process.pid), "CLI and witness take the signal")
    _wait_until_forwarded(process, "SIGHUP")
    process.send_signal(signal.SIGHUP)
    _wait_until_forwarded(process, "SIGHUP SIGHUP")
    assert process.communicate(timeout=DEADLINE_SECONDS)[0].splitlines()[-1:] in ([], ["SIGHUP SIGHUP"])


def test_the_child_dies_when_the_cli_alone_is_killed(swapping):
    process = swapping.begin("sh", "-c", "echo $$; exec sleep 600")
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    wait_until(lambda: not os.path.exists(f"/proc/{child}"), "the child is gone")
    wait_until(lambda: "found the CLI gone" in swapping.heard_tags(), "the session notices")
    process.communicate()


def test_the_session_survives_a_kill_of_the_whole_process_group_and_restores(swapping):
    process = swapping.begin("sh", "-c", "echo $$; exec sleep 600")
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: "restored" in swapping.heard_tags(), "the session restores")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_child_ends_the_preparation(swapping, number):
    process = swapping.begin("echo", "never", before="wait")
    while "waiting" not in process.stderr.readline():
        pass
    process.send_signal(number)
    out, _err = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, out) == (-number, "")
    assert swapping.heard_tags() == ["swap", "stop", "restored"]
    assert swapping.heard()[1]["reason"] == number.name


def test_a_command_that_is_missing_touches_nothing(swapping):
    code, _out, err = swapping.finish("no-such-command-at-all")
    assert code == 127
    assert err == (
        "telepresence-py: the command 'no-such-command-at-all' was not found; check its spelling and PATH\n"
    )
    assert not swapping.heard_file.exists()


def test_a_command_that_is_no_program_touches_nothing(swapping, tmp_path):
    (tmp_path / "text").write_text("no program")
    code, _out, err = swapping.finish(str(tmp_path / "text"))
    assert code == 126
    assert "cannot be executed" in err
    assert not swapping.heard_file.exists()


def test_a_path_that_only_the_pod_may_have_is_tried_in_the_session(swapping):
    code, _out, err = swapping.finish("/volume-of-the-pod/run")
    assert code == 127
    assert "'/volume-of-the-pod/run' was not found" in err
    assert swapping.heard()[1] == {"do": "child-ended", "status": 127}
    assert swapping.heard_tags()[-1] == "restored"


def test_in_the_background_of_a_script_an_interrupt_does_not_end_the_preparation(swapping):
    swapping.ignored = ("INT",)
    process = swapping.begin("echo", "never", before="wait")
    while "waiting" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == -signal.SIGTERM


def test_an_error_of_the_session_is_one_sentence_and_its_code(swapping):
    code, out, err = swapping.finish("true", options=["-q"], before="fail")
    assert (code, out) == (73, "")
    assert err == "telepresence-py: deployment/orders is held by ann@work\n"


def test_debug_shows_where_the_sessions_error_came_from(swapping):
    _code, _out, err = swapping.finish("true", options=["--debug"], before="fail")
    assert "where it came from" in err
    assert err.endswith("telepresence-py: deployment/orders is held by ann@work\n")


def test_a_session_process_that_is_killed_is_a_lost_session(swapping):
    code, _out, err = swapping.finish("true", before="die")
    assert code == 75
    assert "the session process was killed (SIGKILL)" in err


def test_a_session_process_that_crashes_leaves_its_log_and_the_end_of_it(swapping):
    code, _out, err = swapping.finish("true", before="crash")
    assert code == 70
    assert "RuntimeError: crashed as it was told to" in err
    (log,) = swapping.logs.glob("session-*.log")
    assert log.stat().st_mode & 0o777 == 0o600
    assert str(log) in err


def test_a_session_that_ended_well_leaves_no_log(swapping):
    swapping.finish("true")
    assert list(swapping.logs.glob("*.log")) == []


@pytest.mark.parametrize("how", ["fail", "stop-child"])
def test_a_lost_session_ends_the_child_and_says_why(swapping, how):
    code, _out, err = swapping.finish("sleep", "600", while_running=how)
    assert code == 75
    assert err.endswith("deployment/orders was deleted\n")


def test_a_session_process_killed_in_mid_run_ends_the_child(swapping):
    code, _out, err = swapping.finish("sleep", "600", while_running="die")
    assert code == 75
    assert "telepresence-py restore" in err


def test_a_child_that_ignores_the_request_to_end_is_killed_after_the_grace_period(swapping):
    swapping.ignored = ("TERM",)
    code, _out, _err = swapping.finish("sleep", "600", while_running="stop-child", grace_seconds=0.2)
    assert code == 75
    assert swapping.heard()[2] == {"do": "child-ended", "status": -signal.SIGKILL}


def test_a_protected_context_is_refused_where_nobody_can_be_asked(swapping):
    code, _out, err = swapping.finish("true", before="confirm")
    assert code == 78
    assert err.endswith("prod is protected, and nobody can be asked\n")
    assert swapping.heard_tags() == ["swap", "stop", "restored"]


def test_the_log_file_gets_all_news_and_is_private(swapping, tmp_path):
    log = tmp_path / "news"
    swapping.finish("true", options=["--quiet", "--log-file", str(log)])
    assert "planned: planned" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_quiet_shows_no_progress(swapping):
    assert swapping.finish("true", options=["--quiet"]) == (0, "", "")


def test_the_intent_reaches_the_session_whole(swapping):
    options = [
        "-p",
        "8081:8080",
        "--grace",
        "2m",
        "-n",
        "shop",
        "--context",
        "dev",
        "--image",
        "r/i:1",
        "--ready",
        "now",
    ]
    swapping.finish("true", options=options)
    intent = swapping.heard()[0]["intent"]
    assert intent["holder"].count("@") == 1
    del intent["holder"]
    assert intent == {
        "cluster": {
            "kubeconfig": None,
            "context": "dev",
            "namespace": "shop",
            "as_user": None,
            "as_groups": [],
        },
        "kind": "deployment",
        "name": "orders",
        "container": None,
        "ports": [{"laptop_port": 8081, "pod_port": 8080, "protocol": "TCP"}],
        "command": ["true"],
        "image": "r/i:1",
        "grace_seconds": 120.0,
        "ready_now": True,
        "fast_connect": False,
        "environment": {
            "env_file": None,
            "env_json": None,
            "laid_over": {},
            "env_format": "dotenv",
            "include": [],
            "exclude": [],
            "unset": [],
        },
        "rules": [],
        "localhost": {"published": [], "publish_others": True, "pod_localhost": [], "from_pod": []},
        "method": None,
        "volumes": {},
        "prefix": None,
        "files": [],
        "container_image": None,
        "dry_run": False,
        "on_lost": "swap",
    }


def _wait_until_forwarded(process, words):
    """The child answers each line with what it saw so far: ask until it saw the words."""

    def seen():
        process.stdin.write("?\n")
        process.stdin.flush()
        return process.stdout.readline().strip().endswith(words)

    wait_until(seen, f"the child has got {words}")


def _pending(pid):
    """Whether the CLI or its witness has a signal that it did not take yet."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        pids = [pid, *children.read().split()]
    masks = []
    for one in pids:
        with open(f"/proc/{one}/status") as status:
            masks += [line.split()[1] for line in status if line.startswith(("SigPnd", "ShdPnd"))]
    return any(int(mask, 16) for mask in masks)
