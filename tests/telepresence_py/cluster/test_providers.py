from __future__ import annotations

import base64
import json

import pytest

from telepresence_py.cluster.providers import read_provider
from telepresence_py.model.errors import PreconditionFailed


def token(**claims):
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


@pytest.mark.parametrize(
    ("text", "expires"),
    [(token(exp=1700000000), 1700000000.0), (token(), None), ("opaque", None), ("a.!.b", None)],
)
def test_an_oidc_token_tells_when_it_expires(text, expires):
    provider = read_provider({"name": "oidc", "config": {"id-token": text}}, "the user")
    assert (provider.token, provider.expires) == (text, expires)
    assert text not in repr(provider)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"name": "gcp"}, "gke-gcloud-auth-plugin"),
        ({"name": "azure"}, "kubelogin"),
        ({"name": "openstack"}, "exec plugin"),
        ({}, "exec plugin"),
        (["oidc"], "exec plugin"),
        ({"name": "oidc"}, "no id-token"),
        ({"name": "oidc", "config": {"id-token": "a\nb"}}, "no id-token"),
    ],
)
def test_what_gives_no_token_any_more_names_the_cure(entry, words):
    with pytest.raises(PreconditionFailed, match=words):
        read_provider(entry, "the user")
