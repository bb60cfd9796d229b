"""The session's own SSH key: made in memory, never written anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncssh


@dataclass(frozen=True)
class SessionKey:
    """`public_line` is one OpenSSH line for the sidecar's configuration. The private half never leaves the
    process."""

    public_line: str
    private: asyncssh.SSHKey = field(repr=False)

    @classmethod
    def generate(cls) -> SessionKey:
        key = asyncssh.generate_private_key("ssh-ed25519")
        return cls(key.export_public_key("openssh").decode("ascii").strip(), key)
