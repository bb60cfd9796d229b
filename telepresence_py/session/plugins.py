"""Where a credential plugin runs during a session: on the user's terminal, while that is not the child's."""

from __future__ import annotations

from dataclasses import replace

import trio

from telepresence_py.model.plugin import Failure, PluginCall, PluginEnd, RunPlugin
from telepresence_py.process.plugin import run_plugin
from telepresence_py.session.door import Door


def plugin_runner(door: Door) -> RunPlugin:
    """For worker threads. The CLI runs the plugin, where it can ask its user something; while the child has
    the terminal, or once the CLI is gone, it is run here, where it cannot. CliGone when the CLI asks for the
    end meanwhile."""
    token = trio.lowlevel.current_trio_token()

    def run(call: PluginCall) -> PluginEnd:
        end = trio.from_thread.run(door.run_plugin, call, trio_token=token)
        if end is None:
            end = run_plugin(call, terminal=False, aside=True)
            if end.failure is Failure.NO_TERMINAL and door.child_has_terminal:
                end = replace(end, failure=Failure.TERMINAL_TAKEN)
        return end

    return run
