"""PURE: what is left of kubeconfigs' `auth-provider`, which exec plugins replaced.

kubectl 1.26 dropped gcp and azure. It still renews oidc's tokens, and writes them into the kubeconfig; here
they are read until they expire, and read again when kubectl has renewed them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from telepresence_py.cluster.entries import text_of
from telepresence_py.model.errors import PreconditionFailed

REPLACEMENTS = {
    "gcp": "install gke-gcloud-auth-plugin and run gcloud container clusters get-credentials again",
    "azure": "install kubelogin and run kubelogin convert-kubeconfig",
}


@dataclass(frozen=True)
class ProviderToken:
    """`expires` in seconds since 1970; None where the token does not tell."""

    token: str = field(repr=False)
    expires: float | None


def read_provider(entry: Any, whose: str) -> ProviderToken:
    """The token of an `auth-provider` entry; PreconditionFailed for providers that exist no more."""
    name = text_of(entry, "name", whose) if isinstance(entry, Mapping) else ""
    if name != "oidc":
        cure = REPLACEMENTS.get(name, "replace it by an exec plugin")
        raise PreconditionFailed(
            f'{whose} logs in by the auth-provider "{name}", which Kubernetes has removed: {cure}'
        )
    config = entry.get("config") or {}
    token = text_of(config, "id-token", whose) if isinstance(config, Mapping) else ""
    if not token or not token.isprintable():
        raise PreconditionFailed(
            f"{whose} logs in by the auth-provider oidc but has no id-token: log in again"
        )
    return ProviderToken(token, _expiry(token))


def _expiry(token: str) -> float | None:
    """`exp` of a JSON Web Token (RFC 7519, 4.1.4), not verified."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
