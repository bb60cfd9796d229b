"""Where the session has its plugins run: by the command line, or by itself while the terminal is taken."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import trio
import trio.testing

from telepresence_py.model.door import ChildEnded, ChildStarted, PluginEnded, RunPlugin, StartChild, Stop
from telepresence_py.model.plugin import Failure, Interaction, PluginCall, PluginEnd
from telepresence_py.process.door_socket import DoorSocket
from telepresence_py.session.door import CliGone, open_door
from telepresence_py.session.plugins import plugin_runner

ASK = PluginCall(("sh", "-c", "echo here"), {}, {"spec": {}}, Interaction.IF_AVAILABLE)
HERE, THERE = PluginEnd(0, "here\n"), PluginEnd(0, "there\n")


class Cli:
    """The other end of the door."""

    def __init__(self, door: DoorSocket) -> None:
        self._door = door
        self.say = door.send
        self.close = door.close

    async def hear(self):
        arrivals = await trio.to_thread.run_sync(self._door.receive)
        return [arrival.message for arrival in arrivals or []]


def talk(body):
    """Run `body(door, cli, run)`; `run(call)` has a plugin run as a worker thread would."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    cli = Cli(DoorSocket(theirs))

    async def main():
        with trio.fail_after(20):
            async with open_door(ours) as door:
                runner = plugin_runner(door)
                await body(door, cli, lambda call: trio.to_thread.run_sync(runner, call))

    try:
        trio.run(main)
    finally:
        cli.close()


async def start_child(door, cli):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.start_child, {}, {})
        assert isinstance((await cli.hear())[0], StartChild)
        cli.say(ChildStarted(1))


def test_before_the_child_starts_the_command_line_runs_it():
    async def body(door, cli, run):
        async with trio.open_nursery() as nursery:

            async def answer():
                assert await cli.hear() == [RunPlugin(ASK)]
                cli.say(PluginEnded(THERE))

            nursery.start_soon(answer)
            assert await run(ASK) == THERE

    talk(body)


def test_the_child_waits_until_the_plugin_has_left_the_terminal():
    async def body(door, cli, run):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, ASK)
            assert await cli.hear() == [RunPlugin(ASK)]
            nursery.start_soon(door.start_child, {}, {})
            await trio.testing.wait_all_tasks_blocked(0.05)
            cli.say(PluginEnded(THERE))
            assert isinstance((await cli.hear())[0], StartChild)
            cli.say(ChildStarted(1))

    talk(body)


def test_while_the_child_has_the_terminal_it_runs_here_and_afterwards_there_again():
    async def body(door, cli, run):
        await start_child(door, cli)
        assert await run(ASK) == HERE
        end = await run(replace(ASK, interaction=Interaction.ALWAYS))
        assert end.failure is Failure.TERMINAL_TAKEN
        cli.say(ChildEnded(0))
        await door.wait_child_ended()
        async with trio.open_nursery() as nursery:

            async def answer():
                assert await cli.hear() == [RunPlugin(ASK)]
                cli.say(PluginEnded(THERE))

            nursery.start_soon(answer)
            assert await run(ASK) == THERE

    talk(body)


def test_a_wish_to_stop_before_anything_was_done_ends_the_waiting():
    async def body(door, cli, run):
        async with trio.open_nursery() as nursery:

            async def stop():
                assert await cli.hear() == [RunPlugin(ASK)]
                cli.say(Stop("SIGINT"))

            nursery.start_soon(stop)
            with pytest.raises(CliGone, match="SIGINT"):
                await run(ASK)

    talk(body)


def test_without_a_command_line_it_runs_here_as_what_was_done_must_be_undone():
    async def body(door, cli, run):
        await start_child(door, cli)
        cli.say(ChildEnded(0))
        await door.wait_child_ended()
        async with trio.open_nursery() as nursery:

            async def leave():
                assert await cli.hear() == [RunPlugin(ASK)]
                cli.close()

            nursery.start_soon(leave)
            assert await run(ASK) == HERE
        assert await run(ASK) == HERE

    talk(body)
