"""What the laptop alone can tell of a command before anything is touched."""

from __future__ import annotations

import pytest

from telepresence_py.model.errors import CommandNotExecutable, CommandNotFound
from telepresence_py.process.command import candidates, check_command, interpreter_of


def test_a_word_with_a_slash_is_not_searched():
    assert candidates("./run", "/bin:/usr/bin") == ["./run"]


def test_an_empty_part_of_the_path_is_the_working_directory():
    assert candidates("run", "/bin::/usr/bin") == ["/bin/run", "./run", "/usr/bin/run"]


def test_what_is_on_the_path_passes():
    check_command("sh", "/nowhere:/bin:/usr/bin")


def test_what_is_nowhere_on_the_path_is_not_found():
    with pytest.raises(CommandNotFound, match="'no-such-command-at-all'"):
        check_command("no-such-command-at-all", "/bin")


def test_a_path_that_the_laptop_lacks_may_be_the_pods():
    check_command("/volume/run", "/bin")


def test_a_file_that_is_no_program_cannot_be_executed(tmp_path):
    (tmp_path / "text").write_text("x")
    with pytest.raises(CommandNotExecutable):
        check_command(str(tmp_path / "text"), "/bin")
    with pytest.raises(CommandNotExecutable):
        check_command("text", str(tmp_path))


def test_a_directory_is_no_program(tmp_path):
    with pytest.raises(CommandNotExecutable, match="is a directory"):
        check_command(str(tmp_path), "/bin")
    (tmp_path / "tool").mkdir()
    with pytest.raises(CommandNotFound):
        check_command("tool", str(tmp_path))


@pytest.mark.parametrize(
    ("content", "interpreter"),
    [
        (b"#!/bin/sh\n", "/bin/sh"),
        (b"#! /usr/bin/env -S python3 -u\n", "/usr/bin/env"),
        (b"#!/bin/sh\r\n", "/bin/sh\r"),  # which is what the kernel looks for, in vain
        (b"#!\n", None),
        (b"", None),
        (b"\x7fELF", None),
        (b"#!/\xff", "/\udcff"),
    ],
)
def test_a_script_names_its_interpreter(tmp_path, content, interpreter):
    (tmp_path / "script").write_bytes(content)
    assert interpreter_of(str(tmp_path / "script")) == interpreter
    assert interpreter_of(str(tmp_path / "none")) is None
