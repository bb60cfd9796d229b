"""What a dry run tells, on stdout: it is this command's answer, and no child has that stream."""

from __future__ import annotations

import json
import sys

from telepresence_py.cli.render import Screen
from telepresence_py.cli.tables import table
from telepresence_py.model.preview import Preview


def show_preview(preview: Preview, screen: Screen) -> None:
    """Write it, then tell on stderr that nothing was done."""
    text = json.dumps(preview.to_json(), indent=2) if screen.wanted.as_json else preview_table(preview)
    screen.settle()
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    screen.say("a dry run: nothing was changed")


def preview_table(preview: Preview) -> str:
    """PURE: for people; what would be created is named, and not shown."""
    what = f"{preview.command} {preview.workload}".rstrip()
    title = f"{what} in namespace {preview.namespace} of context {preview.context} would"
    return table(title, ("DO", "UNDONE BY"), [(one.do, one.undo) for one in preview.changes])
