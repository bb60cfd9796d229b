"""A certificate authority for tests."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID


class Authority:
    """`pem` is its own certificate; it certifies whoever asks, for a day."""

    def __init__(self, certificate: x509.Certificate, key: CertificateIssuerPrivateKeyTypes) -> None:
        self._name = certificate.subject
        self._key = key
        self.pem = certificate.public_bytes(Encoding.PEM)

    def certify(self, name: str, *addresses: str) -> tuple[bytes, bytes]:
        """A certificate and its key as PEM; `addresses` are names or IP addresses of a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._name, key)
        if addresses:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(map(_general, addresses))), False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(Encoding.PEM), key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )

    def server(self, directory: Path, *addresses: str) -> ssl.SSLContext:
        """TLS for a server that asks its clients for a certificate of this authority, but needs none."""
        certificate, key = self.certify("server", *addresses)
        (directory / "server.pem").write_bytes(certificate + key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.pem.decode())
        context.load_cert_chain(directory / "server.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def new_authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("authority")
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    builder = _builder(name, name, key).add_extension(constraints, True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def authority_in(directory: Path) -> Authority:
    """The one whose certificate and key are `ca.crt` and `ca.key` in that directory."""
    key = load_pem_private_key((directory / "ca.key").read_bytes(), None)
    certificate = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    return Authority(certificate, cast(CertificateIssuerPrivateKeyTypes, key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
