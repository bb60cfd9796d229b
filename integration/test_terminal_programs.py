"""Programs that own the terminal run as the child, below an interactive shell, as they would without us."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.town import settle
from integration.support.aftermath import Before, assert_restored, remember
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.programs import Need
from integration.support.terminal import END_OF_FILE, INTERRUPT, SUSPEND, Terminal
from integration.support.waiting import wait_until

SWAP = "telepresence-py swap desk --"
BACK = r"Restored deployment/desk(.*\n)+\$ "
"""The end of a swap, and the shell's prompt."""


@pytest.fixture(scope="module")
def deployed_desk(town: Namespace) -> Before:
    """A workload without ports: in place as soon as it is adopted."""
    settle(town, probe_config_map(), Workload("desk", listen=(), ports=(), service=False).deployment())
    return remember(town, "desk")


@pytest.fixture
def shell(deployed_desk: Before, townsman: Product) -> Iterator[Terminal]:
    """An interactive bash in whose terminal the swaps are typed; after the test all is as before."""
    settings = townsman.directory / "inputrc"
    settings.write_text("set enable-bracketed-paste off\n")
    shell = townsman.shell({"INPUTRC": str(settings)})
    shell.wait_screen(r"\$ ")
    yield shell
    townsman.end_all()
    assert_restored(deployed_desk)


def begin(shell: Terminal, command: str, shows: str) -> None:
    """Type a swap with that child, and wait until both are there: the child's `shows`, and "In place"."""
    before = len(shell.screen)
    shell.type(f"{SWAP} {command}\n")
    shell.wait_screen(r"In place: ", 120, after=before)
    shell.wait_screen(shows, 60, after=before)


def press(shell: Terminal, keys: bytes | str, pattern: str, seconds: float = 90) -> re.Match[str]:
    """Press keys, and wait for what is shown from then on."""
    before = len(shell.screen)
    shell.type(keys)
    return shell.wait_screen(pattern, seconds, after=before)


def modes_for_programs(shell: Terminal, product: Product) -> str:
    """The terminal's modes with which the shell starts a program: its prompt has others."""
    modes = product.directory / "modes"
    press(shell, f"stty -g >{modes}; echo wri''tten\n", r"written\n")
    return modes.read_text()


def test_a_shell_has_job_control_inside(shell: Terminal) -> None:
    begin(shell, "env PS1='inner> ' bash --norc --noprofile -i", r"inner> ")
    press(shell, "sleep 600 & jobs\n", r"\[1\]\+?\s+Running\s+sleep 600")
    press(shell, "echo re''ady; cat\n", r"^ready\n")
    press(shell, "echoed\n", r"^echoed\nechoed\n")
    press(shell, SUSPEND, r"\[2\]\+\s+Stopped\s+.*cat")
    press(shell, "fg %2\n", r"fg %2\n.*cat\n")
    press(shell, "again\n", r"^again\nagain\n")
    press(shell, INTERRUPT, r"\^C\n.*inner> ")
    press(shell, "kill %1; wait %1; echo ended with $?\n", r"ended with 143")
    shell.resize(33, 101)
    press(shell, "stty size\n", r"^33 101$")
    press(shell, "suspend\n", r"Stopped(.*\n)*\$ ")
    press(shell, "echo outer $HOSTNAME.\n", r"outer \w+\.")
    press(shell, "fg\n", r"inner> ")
    press(shell, "echo inner $HOSTNAME.\n", r"inner desk-[\w-]+\.")
    press(shell, "exit 3\n", BACK, 120)
    press(shell, "echo code $?.\n", r"code 3\.")


def test_an_editor_saves_is_suspended_and_draws_anew_when_the_window_changes(
    shell: Terminal, townsman: Product, need: Need
) -> None:
    need("vim")
    before = modes_for_programs(shell, townsman)
    note = townsman.directory / "note.txt"
    begin(shell, f"vi -u NONE {note}", r"note\.txt.*New")
    press(shell, "ifirst line\x1b", r"first line")
    drawn = len(shell.screen)
    shell.resize(40, 100)
    # each line below the text begins with ~, and there are as many as the window has
    wait_until(lambda: shell.screen.count("~", drawn) >= 36, 10, "the editor fills the larger window")
    press(shell, SUSPEND, r"Stopped(.*\n)*\$ ")
    assert modes_for_programs(shell, townsman) == before, "the shell has the terminal as it was"
    press(shell, "stty size\n", r"^40 100$")
    press(shell, "fg\n", r"first line")
    press(shell, "osecond line\x1b", r"second line")
    press(shell, ":wq\n", BACK, 120)
    assert note.read_text() == "first line\nsecond line\n"
    assert modes_for_programs(shell, townsman) == before


def test_a_pager_pages(shell: Terminal, townsman: Product, need: Need) -> None:
    need("less")
    text = townsman.directory / "text"
    text.write_text("".join(f"line {number:03}\n" for number in range(1, 201)))
    begin(shell, f"less {text}", r"line 023")
    press(shell, " ", r"line 046")
    press(shell, "G", r"line 200")
    press(shell, "?line 100\n", r"line 100")
    press(shell, "q", BACK, 120)


def test_a_repl_is_interrupted_and_lives_on(shell: Terminal, townsman: Product) -> None:
    begin(shell, f"{townsman.python} -q", r"^>>> ")
    press(shell, "import time, socket\n", r"^>>> ")
    press(shell, "print('began'); time.sleep(600)\n", r"^began")
    press(shell, INTERRUPT, r"^KeyboardInterrupt\n>>> ")
    press(shell, "half a line" + INTERRUPT.decode(), r"KeyboardInterrupt\n>>> ")
    # keys are for readline once it has shown its prompt: a ^D before that is no end of its input
    press(shell, "socket.gethostname()\n", r"^'desk-[\w-]+'\n>>> ")
    press(shell, "\x1b[A\n", r"^'desk-[\w-]+'\n>>> ")  # up: the line before, which it has kept
    press(shell, END_OF_FILE, BACK, 120)
    press(shell, "echo code $?.\n", r"code 0\.")


def test_a_pipeline_is_one_job_with_the_child_in_its_middle(
    shell: Terminal, townsman: Product, need: Need
) -> None:
    need("less")
    shell.type(f"cat | {SWAP} sh -c 'echo ready; exec cat' | sed -u s/^/=/\n")
    shell.wait_screen(r"^=ready", 60)
    shell.wait_screen(r"In place: ", 120)
    press(shell, "one\n", r"^=one\n")
    press(shell, SUSPEND, r"Stopped(.*\n)*\$ ")
    press(shell, "fg\n", r"fg\n.*cat \|")
    press(shell, "two\n", r"^=two\n")
    press(shell, INTERRUPT, BACK, 120)
    press(shell, "echo codes ${PIPESTATUS[*]}.\n", r"codes 130\.")
    press(shell, f"seq 200 | {SWAP} less\n", r"^23(.*\n)+.*In place: ", 120)
    press(shell, "G", r"200")
    press(shell, "q", BACK, 120)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit(4)"])
def test_a_child_that_ends_in_raw_mode_leaves_the_terminal_as_without_us(
    shell: Terminal, townsman: Product, end: str
) -> None:
    """A shell repairs the modes after a program that a signal ended, and takes those of one that exited."""
    before = modes_for_programs(shell, townsman)
    program = (
        "import os, sys, tty; tty.setraw(0); print('in', 'raw', end='', flush=True); "
        f"sys.stdin.read(1); {end}"
    )
    command = f'{townsman.python} -c "{program}"'
    shell.type(f"{command}\n")
    shell.wait_screen(r"in raw")  # not in what was typed: keys that come before it are thrown away
    press(shell, "x", r"\$ ")
    without = modes_for_programs(shell, townsman)
    shell.type(f"stty {before}")
    assert modes_for_programs(shell, townsman) == before
    begin(shell, command, r"in raw")
    press(shell, "x", BACK, 120)
    assert modes_for_programs(shell, townsman) == without
