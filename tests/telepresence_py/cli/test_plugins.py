"""A plugin that the session asks for: what its user sees and may do, and what comes back through the door."""

from __future__ import annotations

import os
import signal

import pytest

from tests.fakes.swapping import Swapping

ASK = 'printf "Password: " >/dev/tty; read -r word </dev/tty; echo "got $word"'


@pytest.fixture
def swapping(tmp_path):
    one = Swapping(tmp_path)
    yield one
    one.close()


def ended(swapping):
    (end,) = [fact["end"] for fact in swapping.heard() if fact.get("do") == "plugin-ended"]
    return end


def test_at_a_terminal_it_asks_and_the_child_comes_after_it(swapping):
    with swapping.at_terminal("echo", "served", before="plugin", plugin=(ASK, "Always")) as person:
        person.expects("Password: ")
        person.types("sesame\n")
        person.expects("served")
        assert person.ends() == 0
        assert "got sesame" not in person.seen, "its stdout is a credential"
    assert ended(swapping) == {"status": 0, "output": "got sesame\n", "complaint": "", "failure": None}


def test_without_a_terminal_it_has_no_stdin_and_what_it_says_is_shown(swapping):
    plugin = ("cat; echo see the portal >&2; exit 3", "IfAvailable")
    code, out, err = swapping.finish("echo", "served", before="plugin", plugin=plugin)
    assert (code, out) == (0, "served\n")
    assert "see the portal\n" in err
    assert ended(swapping)["status"] == 3


def test_one_that_must_ask_is_not_run_without_a_terminal(swapping):
    swapping.finish("true", before="plugin", plugin=("echo ran >&2", "Always"))
    assert ended(swapping)["failure"] == "NO_TERMINAL"


def test_an_interrupt_at_its_prompt_is_a_wish_to_stop_and_no_failed_login(swapping):
    with swapping.at_terminal("true", before="plugin", plugin=(ASK, "Always")) as person:
        person.expects("Password: ")
        person.types("\x03")
        assert person.ends() == -signal.SIGINT
    tags = swapping.heard_tags()
    assert tags.index("stop") < tags.index("plugin-ended" if "plugin-ended" in tags else "restored")


def test_a_signal_to_the_command_line_alone_ends_the_plugin_too(swapping, tmp_path):
    plugin = (f"echo $$ >{tmp_path}/pid; echo begun >&2; exec sleep 600", "Never")
    process = swapping.begin("true", before="plugin", plugin=plugin)
    while "begun" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
