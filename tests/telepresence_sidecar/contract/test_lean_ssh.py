"""What is left out of asyncssh, and that it can be had whole again. Each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.fakes.sidecar_process import SOURCES


def answer(question: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom telepresence_sidecar.contract import lean_ssh\n{question}"],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_files_terminals_and_certificates_are_left_out() -> None:
    question = """
lean_ssh.load_asyncssh()
import asyncssh
sftp = type(sys.modules["asyncssh.sftp"]).__name__
print(asyncssh.connect.__name__, sftp, "cryptography.x509" in sys.modules)
"""
    assert answer(question) == "connect _StandIn False"


def test_whoever_uses_what_was_left_out_learns_it() -> None:
    question = """
lean_ssh.load_asyncssh()
import asyncssh
try:
    asyncssh.SFTPServer(None)
except NotImplementedError as error:
    print(error)
"""
    assert answer(question) == "asyncssh was loaded without SFTPServer"


def test_a_version_that_cannot_do_without_is_loaded_whole() -> None:
    question = """
lean_ssh.LEFT_OUT = ("misc", "constants")
lean_ssh.load_asyncssh()
import asyncssh, asyncssh.sftp
print(asyncssh.sftp.__class__.__name__, asyncssh.generate_private_key("ssh-ed25519").get_algorithm())
"""
    assert answer(question) == "module ssh-ed25519"


def test_one_that_is_imported_already_stays_as_it_is() -> None:
    question = (
        "import asyncssh; whole = asyncssh; lean_ssh.load_asyncssh(); print(sys.modules['asyncssh'] is whole)"
    )
    assert answer(question) == "True"


def test_c_libraries_and_certificates_are_found_again_afterwards() -> None:
    question = """
import ctypes.util
search = ctypes.util.find_library
lean_ssh.load_asyncssh()
import cryptography.x509, typing_extensions
print(ctypes.util.find_library is search, cryptography.x509.__name__, typing_extensions.__name__)
"""
    assert answer(question) == "True cryptography.x509 typing_extensions"
