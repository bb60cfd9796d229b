"""The session's own SSH key: made in memory, never written anywhere.

By the library under asyncssh, which itself takes a tenth of a second to import: that can wait until the pod
starts, the key cannot.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


@dataclass(frozen=True)
class SessionKey:
    """`public_line` is one OpenSSH line for the sidecar's configuration. The private half never leaves the
    process."""

    public_line: str
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> SessionKey:
        private = Ed25519PrivateKey.generate()
        line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        return cls(line.decode("ascii"), private)

    def private_pem(self) -> bytes:
        """For whoever speaks SSH, in OpenSSH's format; not encrypted, so to be kept in memory alone."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
