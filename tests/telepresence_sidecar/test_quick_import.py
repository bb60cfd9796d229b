"""What the start of the sidecar costs, in time and memory, by its causes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fakes.sidecar_process import SOURCES

IMPORT = """
import gc, sys
programs = []
RUN = ("subprocess.Popen", "os.fork")
sys.addaudithook(lambda event, _: programs.append(event) if event in RUN else None)
import telepresence_sidecar.__main__
assert "asyncssh" in sys.modules
"""


def answer(question: str, beginning: str = IMPORT) -> str:
    return subprocess.run(
        [sys.executable, "-c", beginning + question],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_the_sidecar_is_imported_without_running_programs_or_looking_for_garbage() -> None:
    assert answer("print(programs, gc.isenabled())") == "[] False"


def test_the_sidecar_has_one_openssl_only() -> None:
    libraries = "[one for one in ('libssl', 'libcrypto') if one in open('/proc/self/maps').read()]"
    assert answer(f"print({libraries})") == "[]"


@pytest.mark.parametrize("module", ["_ssl", "argparse", "email", "typing_extensions", "cryptography.x509"])
def test_the_sidecar_does_without_what_it_never_uses(module: str) -> None:
    assert answer(f"print({module!r} in sys.modules)") == "False"


def test_tls_and_hashes_are_there_for_others_afterwards() -> None:
    question = "import ssl, _hashlib; print(ssl.create_default_context().verify_mode.name, _hashlib.__name__)"
    assert answer(question) == "CERT_REQUIRED _hashlib"
