"""What is written in a format is read back by those who read it; what cannot be is left out, and named."""

from __future__ import annotations

import random
import subprocess

import pytest

from telepresence_py.environment.formats import FORMATS, write
from telepresence_py.environment.shells import OF_FISH, OF_SHELLS
from telepresence_py.model.intent import ENV_FORMATS
from tests.telepresence_py.environment.readers import reading

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB+zCCAWSg/w==\n-----END CERTIFICATE-----\n"
ODD = {
    "EMPTY": "",
    "PLAIN": "http://db.shop:5432/orders?a=1&b=2",
    "BLANKS": "  two  words ",
    "BLANK": " ",
    "HASH": "# a #b",
    "DOLLAR": "pa$$w0rd $HOME ${HOME} $(id) `id` $Env:HOME",
    "DOUBLE_QUOTES": '{"a": "b\\n"}',
    "APOSTROPHE": "it's",
    "APOSTROPHES": "'''",
    "TYPOGRAPHIC": "\u2018a\u2019 \u201a\u201b \u201cb\u201d ''\u2019'",
    "WINDOWS": "C:\\dir\\",
    "SHARE": "\\\\host\\share\\'",
    "BACKTICKS": "`n`",
    "TAB": "\ta\t",
    "EQUALS": "=a==b=",
    "UMLAUT": "Grüße",
    "EMOJI": "\U0001f600",
    "PERCENT": "%PATH% !x! ^",
    "MARK": "\ufeffa",
    # of these fish makes something of its own inside
    "OF_FISH": "\uf600\uf641\uf6ff\ufdd0",
    "RETURN": "a\rb",
    "SEPARATORS": "a\u2028b\x0bc\x85d",
    "CONTROLS": "".join(map(chr, {*range(1, 32), 127} - {10, 13})),
    "MY_PATH": "/a::/b:",
}
LINES = {
    "CERTIFICATE": CERTIFICATE,
    "ONE_END": "\n",
    "WINDOWS_LINES": "a\r\nb\r\n",
    "CONTINUED": "a\\\nb",
    "TWO": "\n\n",
}
BYTES = {"LATIN": "caf\udce9", "BYTES": "\udcff\udc80'\udcfe", "HALF": "ü\udcc3"}
ALPHABET = "aZ0 _-=#$'\"\\\t{}()[]`;&|<>*?!~^%@:,./ü€\u2019\U0001f600"


def values(alphabet: str, seed: int) -> dict[str, str]:
    """Short ones, of the characters of the alphabet."""
    chance = random.Random(seed)
    return {f"V{number}": "".join(chance.choices(alphabet, k=chance.randrange(12))) for number in range(150)}


def names_of(unheld):
    return {name for each in unheld for name in each.names}


def test_the_formats_are_those_of_the_option():
    assert tuple(FORMATS) == ENV_FORMATS


def read_back(form, read, variables, directory):
    """What the reader has of the variables, all of which must be in the file."""
    written = write(form, variables)
    assert written.unheld == ()
    (directory / "file").write_bytes(written.content)
    return read(directory / "file", variables)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("form", "read"), [each for form in ENV_FORMATS for each in reading(form)])
def test_odd_values_are_read_back_as_they_were(form, read, seed, tmp_path):
    variables = ODD | values(ALPHABET, seed)
    assert read_back(form, read, variables, tmp_path) == variables


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("form", "read"), [each for form in ENV_FORMATS if form != "docker" for each in reading(form)]
)
def test_values_of_several_lines_are_read_back_as_they_were(form, read, seed, tmp_path):
    variables = LINES | values(ALPHABET + "\n\n\r", seed)
    assert read_back(form, read, variables, tmp_path) == variables


@pytest.mark.parametrize(
    ("form", "read"), [each for form in ("json", "shell", "fish") for each in reading(form)]
)
def test_bytes_that_are_no_utf_8_are_read_back_as_they_were(form, read, tmp_path):
    variables = BYTES | values(ALPHABET + "\udcff\udcc3\udca4", 1)
    assert read_back(form, read, variables, tmp_path) == variables


NAMES = ("A_1", "a.b-c", "1ST", "with blank", "a/b", "#a", "UID", "hostname", "ü")


@pytest.mark.parametrize(
    ("form", "held"),
    [
        ("dotenv", {"A_1", "a.b-c", "UID", "hostname"}),
        ("json", {*NAMES}),
        ("shell", {"A_1", "hostname"}),
        ("fish", {"A_1", "UID"}),
        ("powershell", {"A_1", "a.b-c", "UID", "hostname"}),
        ("docker", {"A_1", "a.b-c", "1ST", "a/b", "UID", "hostname"}),
    ],
)
def test_names_that_a_format_cannot_hold_are_left_out_and_named(form, held, tmp_path):
    written = write(form, dict.fromkeys(NAMES, "x"))
    assert names_of(written.unheld) == {*NAMES} - held


@pytest.mark.parametrize(
    ("form", "read"), [each for form in ENV_FORMATS if form != "json" for each in reading(form)]
)
def test_what_a_format_cannot_hold_takes_nothing_else_along(form, read, tmp_path):
    """Not a line after it either: of some names a shell stops reading."""
    variables = dict.fromkeys(NAMES, "x") | BYTES | LINES | {"zz": "last"}
    written = write(form, variables)
    held = {name: value for name, value in variables.items() if name not in names_of(written.unheld)}
    assert held["zz"] == "last"
    (tmp_path / "file").write_bytes(written.content)
    assert read(tmp_path / "file", variables) == {name: held.get(name) for name in variables}


@pytest.mark.parametrize(("form", "taken"), [("shell", OF_SHELLS), ("fish", OF_FISH)])
def test_names_that_a_shell_keeps_for_itself_are_left_out(form, taken):
    (unheld,) = write(form, dict.fromkeys(taken, "1")).unheld
    assert unheld.names == tuple(sorted(taken))
    assert unheld.reason == "names that the shell keeps for itself"


@pytest.mark.parametrize(("form", "read"), [*reading("shell")[:3], *reading("fish")])
def test_all_other_names_that_a_shell_tells_of_are_read_back(form, read, tmp_path):
    bash, fish = ["bash", "-c", "compgen -v"], ["fish", "--no-config", "-c", "set --names"]
    asked = bash if form == "shell" else fish
    names = subprocess.run(asked, capture_output=True, text=True, check=True, env={}).stdout.split()
    taken = OF_SHELLS if form == "shell" else OF_FISH
    variables = {name: "100" for name in names if name not in taken}
    assert len(variables) > 10
    assert read_back(form, read, variables, tmp_path) == variables


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\nb", "values of several lines"),
        ("a\r", "values that end in a carriage return"),
        ("\udcff", "values that are not UTF-8"),
        ("ü" * 32768, "values over 64 KiB"),
    ],
)
def test_values_that_docker_does_not_read_back_are_left_out_and_named(value, reason):
    written = write("docker", {"A": "a", "B": value, "C": value})
    assert written.content == b"A=a\n"
    assert [(each.names, each.reason) for each in written.unheld] == [(("B", "C"), reason)]
    assert str(written.unheld[0]) == f"'B', 'C' ({reason})"


@pytest.mark.parametrize(("form", "read"), reading("docker"))
def test_the_longest_line_that_docker_reads_is_held(form, read, tmp_path):
    variables = {"A": "x" * (65535 - len("A=\n"))}
    assert read_back(form, read, variables, tmp_path) == variables
    assert write(form, {"A": variables["A"] + "x"}).unheld != ()


def test_a_line_of_each_format_looks_as_its_users_write_it():
    variables = {"B": "it's", "A": "x"}
    assert write("shell", variables).content == b"export A='x'\nexport B='it'\\''s'\n"
    assert write("fish", variables).content == b"set -gx A 'x'\nset -gx B 'it\\'s'\n"
    assert write("powershell", variables).content == b"${Env:A} = 'x'\n${Env:B} = 'it''s'\n"
    assert write("docker", variables).content == b"A=x\nB=it's\n"
    assert write("dotenv", variables).content == b'A=x\nB="it\'s"\n'
    assert write("json", variables).content == b'{\n  "A": "x",\n  "B": "it\'s"\n}\n'


def test_a_powershell_script_of_more_than_ascii_begins_with_the_mark_that_says_so():
    assert write("powershell", {"A": "ü"}).content == "\ufeff${Env:A} = 'ü'\n".encode()
    assert write("powershell", {"A": "u"}).content == b"${Env:A} = 'u'\n"
