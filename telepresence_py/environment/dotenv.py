"""PURE: a variable in dotenv syntax, written so that common readers get the value back; and such text read.

There is no standard of the syntax. What is written stays in what shells (`set -a; . FILE`), python-dotenv and
dotenv-like readers have in common, as far as a value can be held there at all; docs/environment.md has the
table. What is read is a little more: `export`, comments, blanks around `=`.
"""

from __future__ import annotations

import re

NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
_ASSIGNMENT = re.compile(rf"[ \t]*(?:export[ \t]+)?({NAME})[ \t]*=")
_NOTHING = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_REST = re.compile(r"(?:[ \t]+#[^\n]*|[ \t]*)(?:\n|\Z)")
_QUOTE = re.compile("[ \\t]*(['\"])")
_SINGLE = re.compile(r"[ \t]*'([^']*)'")
_DOUBLE = re.compile(r'[ \t]*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r"([^\n]*)(?:\n|\Z)")
_COMMENT = re.compile(r"[ \t]#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$", "`": "`"}

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
_ONE_WORD = re.compile(r"""[^\s'"#`][^\s#]*""")


class DotenvError(ValueError):
    """`line` counts from 1; `reason` never quotes a value."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


def dotenv_line(name: str, value: str) -> str:
    """One line, or several where the value has several. The name is a NAME, the value UTF-8."""
    return f"{name}={_quoted(value)}\n"


def read_dotenv(text: str) -> dict[str, str]:
    """The variables of a dotenv text, a later line of a name over an earlier one; raises DotenvError.

    Nothing is expanded: a `$` stands for itself. In single quotes all does; in double quotes `\\n`, `\\r`,
    `\\t` and a backslash before `\\`, `"`, `$` or a backtick mean what they mean in C and in the shell.
    Without quotes the value ends at ` #` or at the end of the line, blanks around it do not count.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise DotenvError(_line(text, text.index("\0")), "it has a NUL character, which no variable can have")
    variables: dict[str, str] = {}
    position = 0
    while position < len(text):
        if nothing := _NOTHING.match(text, position):
            position = nothing.end()
            continue
        assignment = _ASSIGNMENT.match(text, position)
        if assignment is None:
            raise DotenvError(_line(text, position), "it is no NAME=VALUE, comment or blank line")
        variables[assignment[1]], position = _value(text, assignment.end())
    return variables


def _value(text: str, begin: int) -> tuple[str, int]:
    """The value that begins there, and where the next line does."""
    opening = _QUOTE.match(text, begin)
    if opening is None:
        bare = _BARE.match(text, begin)
        assert bare is not None  # it matches anything
        return _COMMENT.sub("", bare[1]).strip(" \t"), bare.end()
    quote = opening[1]
    quoted = (_SINGLE if quote == "'" else _DOUBLE).match(text, begin)
    if quoted is None:
        raise DotenvError(_line(text, begin), f"the {quote} that opens the value is never closed")
    rest = _REST.match(text, quoted.end())
    if rest is None:
        reason = f"something follows the closing {quote}: quote the whole value"
        raise DotenvError(_line(text, quoted.end()), reason)
    value = quoted[1] if quote == "'" else _ESCAPE.sub(_unescaped, quoted[1])
    return value, rest.end()


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _unescaped(escape: re.Match[str]) -> str:
    return _ESCAPES.get(escape[1], escape[0])


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if not re.search(r"'|\\\\|\\\Z|\r", value):
        return f"'{value}'"
    if value.endswith("\\") and _ONE_WORD.fullmatch(value):
        # python-dotenv takes a backslash before a closing quote for an escape
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r")
    return f'"{escaped}"'
