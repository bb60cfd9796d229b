"""The command line on a system that is not Linux: what its tests claim of Linux holds there as well."""

from __future__ import annotations

import signal

import pytest

from tests.fakes.swapping import Swapping
from tests.telepresence_py.cli.test_conversation import (  # noqa: F401 - run here, too
    test_a_child_that_a_signal_ended_ends_the_cli_by_it_too,
    test_a_child_that_ignores_the_request_to_end_is_killed_after_the_grace_period,
    test_a_lost_session_ends_the_child_and_says_why,
    test_a_session_process_that_is_killed_is_a_lost_session,
    test_a_signal_after_one_to_the_whole_group_is_forwarded_again,
    test_a_signal_before_the_child_ends_the_preparation,
    test_a_signal_to_the_cli_alone_is_forwarded_once,
    test_a_signal_to_the_whole_group_is_not_doubled,
    test_in_the_background_of_a_script_an_interrupt_does_not_end_the_preparation,
    test_standard_output_is_the_childs_alone_and_standard_input_reaches_it,
    test_the_child_dies_when_the_cli_alone_is_killed,
    test_the_child_has_the_working_directory_and_the_environment_that_the_session_gives,
    test_the_exit_code_is_the_childs_after_the_restore,
    test_the_session_survives_a_kill_of_the_whole_process_group_and_restores,
)

GLIBCS_OWN = 1 << 31 | 1 << 32
"""Signals 32 and 33, which no program sees: posix_spawn(3) of glibc leaves them ignored."""


@pytest.fixture
def swapping(tmp_path):
    one = Swapping(tmp_path)
    one.go_elsewhere()
    yield one
    one.close()


@pytest.mark.parametrize("ignored", [(), ("HUP",)])
def test_the_child_has_ignored_what_the_caller_has_and_nothing_blocked(swapping, ignored):
    swapping.ignored = ignored
    _code, out, _err = swapping.finish("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    masks = [int(line.split()[1], 16) & ~GLIBCS_OWN for line in out.splitlines()]
    assert masks == [0, 1 << (signal.SIGHUP - 1) if ignored else 0]


def test_an_interrupt_ends_a_kept_child_and_then_the_waiting(swapping):
    command = ("sh", "-c", "echo begu''n; exec sleep 600")
    with swapping.at_terminal(*command, options=["--keep"]) as person:
        for _ in range(2):
            person.expects("begun")
            person.types("\x03")
            person.expects("ended by SIGINT; Enter starts it again")
            person.types("\n")
        person.expects("begun")
        person.types("\x03")
        person.expects("Enter starts it again")
        person.types("\x04")
        assert person.ends() == -signal.SIGINT


def test_a_changed_file_starts_the_child_again(swapping, tmp_path):
    watched = tmp_path / "watched"
    watched.write_text("one")
    command = ("sh", "-c", f"echo begu''n $(cat {watched}); exec sleep 600")
    with swapping.at_terminal(*command, options=["--restart", "--watch", str(watched)]) as person:
        person.expects("begun one")
        watched.write_text("two")
        person.expects("begun two")
        person.types("\x03")
        assert person.ends() == -signal.SIGINT


def test_a_login_plugin_has_the_terminal_before_the_child_has_it(swapping):
    plugin = ("read word; echo got $word >&2", "Always")
    with swapping.at_terminal("sh", "-c", "echo serv''ed", before="plugin", plugin=plugin) as person:
        person.types("secret\n")
        person.expects("got secret")
        person.expects("served")
        assert person.ends() == 0
