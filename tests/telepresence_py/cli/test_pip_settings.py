"""pip's variables as a pip.conf for the build."""

from __future__ import annotations

import configparser

from telepresence_py.cli.pip_settings import pip_settings, with_mounts

ENVIRONMENT = {
    "PIP_INDEX_URL": "https://user:word@index.example/simple",
    "PIP_FIND_LINKS": "/wheels file:///more https://links.example",
    "PIP_CERT": "/etc/ca.pem",
    "PIP_NO_INDEX": "1",
    "PIP_CONFIG_FILE": "/etc/other.conf",
    "PIP_EMPTY": " ",
    "PATH": "/bin",
}


def read(text: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return dict(parser["global"])


def test_every_variable_of_pips_becomes_an_option():
    assert read(pip_settings(ENVIRONMENT).conf()) == {
        "cert": "/etc/ca.pem",
        "find-links": "/wheels\nfile:///more\nhttps://links.example",
        "index-url": "https://user:word@index.example/simple",
        "no-index": "1",
    }


def test_paths_that_the_build_must_see_are_found():
    assert pip_settings(ENVIRONMENT).words == {"/wheels", "/more", "/etc/ca.pem"}


def test_a_path_that_is_elsewhere_inside_is_named_as_it_is_there():
    moved = {"/etc/ca.pem": "/run/pip-0", "/wheels": "/run/pip-1"}
    options = read(pip_settings(ENVIRONMENT).conf(moved))
    assert options["cert"] == "/run/pip-0"
    assert options["find-links"].startswith("/run/pip-1\n")


def test_without_variables_there_is_nothing_to_say():
    assert pip_settings({"PATH": "/bin"}).options == {}


def test_every_run_step_sees_the_mounts_and_nothing_else_changes():
    text = "FROM x\n# RUN nothing\nRUN a \\\n  && b\nCOPY RUN /\nrun c\n"
    mounted = with_mounts(text, {"/etc/pip.conf": "pip/pip.conf"})
    option = "--mount=type=bind,source=pip/pip.conf,target=/etc/pip.conf"
    assert mounted == f"FROM x\n# RUN nothing\nRUN {option} a \\\n  && b\nCOPY RUN /\nRUN {option} c\n"
