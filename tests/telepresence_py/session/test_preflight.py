from __future__ import annotations

import pytest

from telepresence_py.model.errors import CommandNotFound
from telepresence_py.model.network import Mount
from telepresence_py.session.preflight import require_command

MOUNTS = (Mount("/scripts", "scripts", "configMap"),)


def test_a_path_that_only_the_pod_can_have_is_accepted():
    require_command(("/scripts/start.sh", "now"), MOUNTS)


def test_a_name_is_left_to_the_search_path():
    require_command(("python3",), ())


@pytest.mark.parametrize("path", ["/nowhere/start.sh", "./nowhere/start.sh", "/scripts-of-others/start.sh"])
def test_a_path_that_is_nowhere_is_refused(path):
    with pytest.raises(CommandNotFound, match=r"nowhere|others"):
        require_command((path,), MOUNTS)


def test_a_script_whose_interpreter_is_nowhere_is_refused(tmp_path):
    script = tmp_path / "script"
    script.write_text("#! /nowhere/python -u\n")
    script.chmod(0o755)
    with pytest.raises(CommandNotFound, match="run by '/nowhere/python'"):
        require_command((str(script),), MOUNTS)
    for interpreter in ("/bin/sh", "/scripts/python"):
        script.write_text(f"#!{interpreter}\n")
        require_command((str(script),), MOUNTS)
