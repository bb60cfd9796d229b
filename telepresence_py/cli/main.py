"""The one place where errors become sentences and exit codes. It imports little, as it stays as long as a
session."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from telepresence_sidecar.late import SELDOM_USED, put_off

put_off({**SELDOM_USED, "ipaddress": {}})  # before anybody asks for them

from telepresence_py import system  # noqa: E402
from telepresence_py.cli.aside import Asked, hold_session, parse_aside  # noqa: E402
from telepresence_py.cli.render import PREFIX, Screen  # noqa: E402
from telepresence_py.cli.streams import drop_output, open_missing_streams, output_trouble  # noqa: E402
from telepresence_py.model.errors import InternalError, PreconditionFailed, TelepresenceError  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The console script. Ends with the code that model/errors.py gives to the error, or as the child did."""
    open_missing_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in (words[: words.index("--")] if "--" in words else words)
    say = partial(_say, debug=debug)
    try:
        sys.exit(_carry_out(words))
    except SystemExit as leaving:
        if isinstance(leaving.code, int) and leaving.code < 0:
            from telepresence_py.process.ending import end_by_signal

            end_by_signal(-leaving.code)
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        drop_output()  # its reader went away, as in `list | head -1`
        sys.exit(0)
    except TelepresenceError as error:
        say(error, error.sentence)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the user gets a sentence for whatever it is
        if (trouble := output_trouble(error)) is not None:
            say(error, trouble)
            sys.exit(PreconditionFailed.exit_code)
        say(error, f"a bug ({type(error).__name__}: {error}); run again with --debug and report what it says")
        sys.exit(InternalError.exit_code)


def _carry_out(words: Sequence[str]) -> int:
    if system.PLATFORM == "win32":
        return _on_windows(words)
    match parse_aside(words):
        case Asked(opening, wanted, again):
            with Screen(sys.stderr, wanted) as screen:
                return hold_session(opening, screen, again)
        case int(code):
            return code
    from telepresence_py.cli import commands

    return commands.carry_out(words)


def _on_windows(words: Sequence[str]) -> int:
    """Help and the version; whatever else would need what Windows has not got."""
    ours = words[: words.index("--")] if "--" in words else words
    if ours and not {"-h", "--help", "--version"} & set(ours):
        raise PreconditionFailed(
            "telepresence-py does not run on Windows itself: install it in a Linux of WSL2 "
            "(wsl --install) and run it there, where your files and commands are too"
        )
    from telepresence_py.cli import commands

    return commands.carry_out(words)


def _say(error: BaseException, sentence: str, debug: bool) -> None:
    trace = "".join(traceback.format_exception(error)) if debug else ""
    sys.stderr.write(f"{trace}{PREFIX}{sentence}\n")
