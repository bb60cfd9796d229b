"""The commands' faces: help, versions, usage errors, and what must not be imported for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from telepresence_py.cli import commands
from telepresence_py.cli import main as cli_main
from telepresence_py.model.errors import BadUsage
from telepresence_sidecar.contract import __version__

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "sidecar")))}


OTHERS = "registry.example/telepresence-py-sidecar:0.0.1"


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "telepresence_py", *words]
    return subprocess.run(
        command, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_goes_to_standard_output():
    done = run("swap", "--help")
    assert done.returncode == 0
    assert "KIND/NAME[:CONTAINER]" in done.stdout
    assert done.stderr == ""


def test_what_holds_a_session_has_no_parser_in_memory():
    """It would stay there for as long as the session lasts: 3 MB."""
    code = """
import sys
from telepresence_py.cli.main import main
try:
    main(["swap", "x", "--", "no-such-command-at-all"])
except SystemExit as leaving:
    print(leaving.code, sorted({"click", "telepresence_py.cli.commands"} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "127 []"  # the process that parsed, a fork of it, is there before
    assert done.stderr.count("no-such-command-at-all") == 1


@pytest.mark.parametrize("words", [["--help"], ["swap", "x", "--", "no-such-command-at-all"]])
def test_neither_help_nor_a_swap_waits_for_the_heavy_libraries(words):
    code = f"""
import sys
from telepresence_py.cli.main import main
import telepresence_py.cli.conversation
try:
    main({words!r})
except SystemExit:
    pass
libraries = {{"kubernetes", "trio", "asyncssh", "picows", "psutil", "watchfiles"}}
standard = {{"asyncio", "subprocess", "_hashlib", "random", "tomllib", "difflib"}}
heavy = (libraries | standard) & sys.modules.keys()
sys.exit(f"imported: {{sorted(heavy)}}" if heavy else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_version_is_that_of_the_contract():
    assert run("--version").stdout == f"telepresence-py, version {__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["swpa"], "did you mean 'swap'?"),
        (["sidecar", "bulid"], "did you mean 'build'?"),
        (["frobnicate"], "there are list, restore, run, sidecar, status and swap"),
        (["swap", "orders", "--gracce", "3"], "--grace"),
        (["swap", "orders", "python", "-m", "http.server"], "Options of your own command stand behind a --"),
        (["swap"], "KIND/NAME"),
        (["swap", "orders", "-p", "x", "--", "true"], "'x' is not a port"),
        (["swap", "orders", "--grace", "soon", "--", "true"], "'soon' is not a duration"),
        (["swap", "orders", "--grace", "0", "--", "true"], "--grace 0: write a time from 1 s to 24 h"),
        (["swap", "orders", "--env-file", "", "--", "true"], "--env-file is empty"),
        (["swap", "orders", "--env-fromat", "shell", "--", "true"], "--env-format"),
        (["swap", "orders", "--env-format", "shell", "--", "true"], "add --env-file FILE"),
        (["run", "--env-file", "x", "--env-format", "shel", "--", "true"], "did you mean 'shell'?"),
        (["swap", "orders", "--env", "A", "--", "true"], "write NAME=VALUE"),
        (["swap", "orders", "--env-exclude", "A,B", "--", "true"], "--env-exclude A --env-exclude B"),
        (["run", "--serviceaccount", "", "--", "true"], "--serviceaccount is empty"),
        (["swap", "deploymnt/x", "--", "true"], "did you mean 'deployment'?"),
        (["swap", "./run.sh"], "your command behind a --"),
        (["swap", "orders", "-n", "", "--", "true"], "'' is no name of a namespace"),
        (["swap", "orders", "-n", "--", "true"], "'--' is no name of a namespace"),
        (["list", "--context", ""], "--context is empty"),
        (["list", "--kubeconfig", ""], "--kubeconfig is empty"),
        (["list", "--log-file", ""], "--log-file is empty"),
        (["restore"], "KIND/NAME, or --all"),
        (["restore", "orders", "--all"], "KIND/NAME, or --all"),
        (["list", "--output", "yaml"], "yaml"),
        (["swap", "orders", "--image", "", "--", "true"], "'' does not name an image"),
        (["swap", "orders", "--method", "usernss", "--", "true"], "did you mean 'userns'?"),
        (["sidecar", "build", "--image", "a b"], "'a b' does not name an image"),
        (["sidecar", "build", "--platform", "linux/amd46"], "did you mean 'linux/amd64'?"),
        (["sidecar", "push"], "REGISTRY"),
        (["sidecar", "push", "alice"], "did you mean docker.io/alice"),
        (["sidecar", "push", "https://registry.example"], "does not name a registry"),
        (["sidecar", "load", "--to", "kinf"], "did you mean 'kind'?"),
    ],
)
def test_wrong_usage_is_one_line_with_a_hint_and_code_2(words, hint):
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert hint in done.stderr
    assert done.stderr.startswith("telepresence-py: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_without_a_command_the_help_is_named():
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "telepresence-py --help" in done.stderr


def test_debug_shows_where_an_error_came_from():
    done = run("swap", "orders", "--debug", "--", "no-such-command-at-all")
    assert done.returncode == 127
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("telepresence-py: the command")


def test_debug_behind_the_dashes_is_the_commands_own():
    assert "Traceback" not in run("swap", "orders", "--", "no-such-command-at-all", "--debug").stderr


def test_the_image_is_printed_alone(tmp_path):
    done = run("sidecar", "image", XDG_CONFIG_HOME=str(tmp_path))
    assert done.stdout == f"localhost/telepresence-py-sidecar:{__version__}\n"
    assert done.stderr == ""


def test_the_image_that_the_settings_choose_is_printed_and_with_verbose_why(tmp_path):
    (tmp_path / "telepresence-py").mkdir()
    settings = tmp_path / "telepresence-py" / "config.toml"
    settings.write_text(f'image = "{OTHERS}"\n[contexts.dev]\nimage = "r.example/dev:1"\n')
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("current-context: dev\ncontexts: [{name: dev, context: {}}]\n")
    where = {"XDG_CONFIG_HOME": str(tmp_path), "TELEPRESENCE_PY_IMAGE": ""}
    done = run("sidecar", "image", "--verbose", **where, KUBECONFIG=str(kubeconfig))
    assert done.stdout == "r.example/dev:1\n"
    assert f'that of [contexts."dev"] in {settings}' in done.stderr
    done = run("sidecar", "image", **where, KUBECONFIG=str(tmp_path / "none"))
    assert done.stdout == f"{OTHERS}\n"
    assert "is of version 0.0.1 and this is" in done.stderr
    where["TELEPRESENCE_PY_IMAGE"] = "r.example/variable:1"
    assert run("sidecar", "image", **where).stdout == "r.example/variable:1\n"


def test_a_log_file_that_cannot_be_written_is_a_precondition():
    done = run("swap", "orders", "--log-file", "/nowhere-at-all/log", "--", "true")
    assert done.returncode == 78
    assert "/nowhere-at-all/log" in done.stderr


def test_an_error_that_nobody_foresaw_is_a_sentence_and_code_70(monkeypatch, capsys):
    def broken(*_words, **_options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(commands.cli, "main", broken)
    with pytest.raises(SystemExit) as ended:
        cli_main.main(["list"])
    assert ended.value.code == 70
    assert capsys.readouterr().err.startswith("telepresence-py: a bug (ZeroDivisionError: division by zero)")


def test_an_intent_holds_what_was_typed(monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/zsh")
    options = {"kubeconfig": None, "context": "dev", "namespace": None, "as_user": None, "as_groups": ()}
    options |= {
        "ports": ("1:2",),
        "image": None,
        "grace": "1m",
        "ready": "listening",
        "connect": "fast",
        "method": None,
        "run_in": None,
        "build": None,
    }
    options |= {"env_file": None, "env_json": None, "env_from": None, "env_format": None}
    options |= dict.fromkeys(("env_include", "env_exclude", "env", "unset", "via_laptop", "never"), ())
    options |= {"publish": (), "no_publish": False, "pod_localhost": (), "from_pod": ()}
    options |= {"dry_run": False, "output": None, "on_lost": "exit"}
    options |= {"volume": ("/data=off",), "mount": "/pod/", "file": ("/etc/app//x", "/etc/app/x")}
    intent = commands.swap_intent("sts/db:main", (), options)
    assert intent.volumes == {"/data": "off"}
    assert (intent.prefix, intent.files) == ("/pod", ("/etc/app/x",))
    assert (intent.kind, intent.name, intent.container) == ("statefulset", "db", "main")
    assert (intent.command, intent.grace_seconds, intent.ready_now) == (("/bin/zsh",), 60.0, False)
    assert intent.fast_connect
    assert intent.on_lost == "exit"


def test_an_intent_of_malformed_words_is_refused():
    with pytest.raises(BadUsage):
        commands.swap_intent("a/b/c", (), {})
