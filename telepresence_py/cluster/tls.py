"""TLS to the API server and to its proxy, as the kubeconfig says: for requests and port-forwards alike."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from telepresence_py import system
from telepresence_py.cluster.credentials import Identity
from telepresence_py.cluster.entries import ClusterEntry
from telepresence_py.model.errors import ClusterUnreachable


def server_tls(cluster: ClusterEntry, identity: Identity) -> ssl.SSLContext | None:
    """For the API server, with our client certificate; None for http://. ClusterUnreachable for a bad one."""
    if not cluster.is_encrypted:
        return None
    context = _verifying(cluster)
    if identity.certificate:
        try:
            with _memory_file(identity.certificate) as certificate, _memory_file(identity.key) as key:
                context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise ClusterUnreachable(
                f"the client certificate of the kubeconfig cannot be used ({_cause(error)}): check that it "
                "and its key belong together, and that the key is not encrypted"
            ) from error
    return context


def proxy_tls(cluster: ClusterEntry) -> ssl.SSLContext:
    """For an https:// proxy, which may be certified by the cluster's authority or by the system's."""
    context = _verifying(cluster)
    if not cluster.insecure:
        context.load_default_certs()
    return context


def _verifying(cluster: ClusterEntry) -> ssl.SSLContext:
    try:
        authority = cluster.authority
        context = ssl.create_default_context(
            cadata=None if authority is None else authority.decode("ascii", "ignore")
        )
    except (OSError, ValueError) as error:
        raise ClusterUnreachable(
            f'the certificate authority of the cluster "{cluster.name}" cannot be used ({_cause(error)}): '
            "it must be PEM"
        ) from error
    # Python 3.13 asks more of certificates than kubectl does, and than older clusters' have
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cluster.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """A path for OpenSSL, which reads keys from files only; with Linux it is on no disk (memfd_create(2)),
    elsewhere the user's alone, and for this moment."""
    if not system.LINUX:
        with tempfile.NamedTemporaryFile(prefix="telepresence-py-") as file:  # mode 0600
            file.write(content)
            file.flush()
            yield file.name
        return
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _no_password() -> str:
    """Else OpenSSL would ask for the password of an encrypted key on the terminal."""
    raise ValueError("the key is encrypted")


def _cause(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error) or type(error).__name__
