from __future__ import annotations

import asyncssh

from telepresence_py.tunnel.keys import SessionKey


def test_every_session_has_a_key_of_its_own() -> None:
    first, second = SessionKey.generate(), SessionKey.generate()
    assert first.public_line != second.public_line
    assert first.public_line.startswith("ssh-ed25519 ")
    assert "\n" not in first.public_line


def test_the_public_line_belongs_to_the_private_half_which_is_never_shown() -> None:
    key = SessionKey.generate()
    assert (
        asyncssh.import_public_key(key.public_line).public_data
        == asyncssh.import_private_key(key.private_pem()).public_data
    )
    assert "private" not in repr(key)
