"""What is written is read back: by ourselves, by a shell, and by python-dotenv."""

from __future__ import annotations

import io
import os
import random
import subprocess

import dotenv
import pytest

from telepresence_py.environment.dotenv import DotenvError, dotenv_line, read_dotenv

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB+zCCAWSg/w==\n-----END CERTIFICATE-----\n"
VALUES = {
    "EMPTY": "",
    "PLAIN": "http://db.shop:5432/orders?a=1&b=2",
    "BLANKS": "  two  words ",
    "HASH": "a #b # c",
    "DOLLAR": "pa$$w0rd $HOME `id`",
    "DOUBLE_QUOTES": '{"a": "b\\n"}',
    "APOSTROPHE": "it's",
    "LINES": CERTIFICATE,
    "UMLAUT": "Grüße",
    "SEPARATORS": "a\u2028b\x0bc\x85d",
    "WINDOWS": "C:\\dir\\",
    "SHARE": "\\\\host\\share",
    "EXCLAMATION": "wow!",
    "TAB": "a\tb",
    "EQUALS": "a=b==",
}
ALPHABET = "aZ0 _-=#$'\"\\\n\t{}`;&|<>*?!~ü€\U0001f600\r"


def dotenv_text(variables: dict[str, str]) -> str:
    return "".join(dotenv_line(name, value) for name, value in variables.items())


def random_values(seed: int, alphabet: str) -> dict[str, str]:
    chance = random.Random(seed)
    return {f"V{number}": "".join(chance.choices(alphabet, k=chance.randrange(12))) for number in range(200)}


@pytest.mark.parametrize("seed", range(20))
def test_any_text_is_read_back_as_it_was_written(seed):
    variables = VALUES | random_values(seed, ALPHABET)
    assert read_dotenv(dotenv_text(variables)) == variables


@pytest.mark.parametrize("seed", range(5))
def test_python_dotenv_reads_back_what_does_not_end_in_a_backslash(seed):
    variables = {
        name: value
        for name, value in (VALUES | random_values(seed, ALPHABET)).items()
        if not value.endswith("\\")
    }
    text = dotenv_text(variables)
    assert dotenv.dotenv_values(stream=io.StringIO(text), interpolate=False) == variables


def test_python_dotenv_reads_back_a_path_that_ends_in_a_backslash():
    text = dotenv_text(VALUES)
    assert dotenv.dotenv_values(stream=io.StringIO(text), interpolate=False) == VALUES


@pytest.mark.parametrize("seed", range(3))
def test_a_shell_reads_back_what_has_no_apostrophe_double_backslash_or_carriage_return(seed, tmp_path):
    variables = {
        name: value
        for name, value in (VALUES | random_values(seed, ALPHABET)).items()
        if not any(part in value for part in ("'", "\\\\", "\r")) and not value.endswith("\\")
    }
    assert sourced(tmp_path, variables) == variables


def test_a_shell_reads_back_an_apostrophe_beside_quotes_and_lines(tmp_path):
    variables = {"A": 'it\'s "here"\nand there \\ too'}
    assert sourced(tmp_path, variables) == variables


def sourced(directory, variables):
    file = directory / "env"
    file.write_text(dotenv_text(variables), newline="")
    said = subprocess.run(
        ["sh", "-c", 'set -a; . "$1"; exec env -0', "sh", file], env={}, capture_output=True, check=True
    ).stdout
    seen = dict(os.fsdecode(line).split("=", 1) for line in said.split(b"\0") if line)
    return {name: seen.get(name) for name in variables}


def test_values_that_need_no_quotes_have_none():
    assert dotenv_text({"E": "", "URL": "http://a/b"}) == "E=\nURL=http://a/b\n"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A=b", "b"),
        ("  A = b  ", "b"),
        ("A=b # comment", "b"),
        ("A=b#c", "b#c"),
        ("A= # comment", ""),
        ("A=", ""),
        ("A='b' # comment", "b"),
        ('A="b"', "b"),
        ('A="b\\nc\\td"', "b\nc\td"),
        ('A="a\\"b\\$c\\`d\\e"', 'a"b$c`d\\e'),
        ("A='a\\nb'", "a\\nb"),
        ("A='$HOME'", "$HOME"),
        ("A=$HOME/x", "$HOME/x"),
        ('A="${HOME}"', "${HOME}"),
        ("A=it's", "it's"),
        ("A='b\nc'", "b\nc"),
        ('A="b\r\nc"\r', "b\nc"),
        ("\ufeffA=b", "b"),
        ("# A=a\n\nA=b\n", "b"),
        ("A=a\nA=b", "b"),
    ],
)
def test_what_people_write_is_read(line, value):
    assert read_dotenv(line) == {"A": value}


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("A=b\nC\n", 2, "NAME=VALUE"),
        ("A=b\n\n# x\n9A=b", 4, "NAME=VALUE"),
        ("A=b\nB='secret\nd\n", 2, "closed"),
        ('A="b', 1, "closed"),
        ("A='b\nsecret' d", 2, "follows"),
        ("A='b'#c", 1, "follows"),
        ("export A", 1, "NAME=VALUE"),
        ("=b", 1, "NAME=VALUE"),
        ("A=b\nB=\0", 2, "NUL"),
    ],
)
def test_a_malformed_line_is_refused_with_its_number_and_without_its_value(text, line, word):
    with pytest.raises(DotenvError, match=word) as refused:
        read_dotenv(text)
    assert refused.value.line == line
    assert "secret" not in str(refused.value)


def test_a_long_file_is_read_in_linear_time():
    text = dotenv_text({f"V{number}": "it's\n" * 20 for number in range(3000)})
    assert len(read_dotenv(text)) == 3000
