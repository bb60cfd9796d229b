from __future__ import annotations

import pytest

from telepresence_py.model.image import ChosenImage
from telepresence_py.session.image import image_for, no_image, version_notice
from telepresence_sidecar.contract import __version__

REMOTE = "registry.example:5000/team/telepresence-py-sidecar:0.1.0"
LOGIN = f'ErrImagePull: failed to resolve reference "{REMOTE}": '
DENIED = LOGIN + "pull access denied, repository does not exist or may require authorization"
UNKNOWN = LOGIN + "dial tcp: lookup registry.example: no such host"


@pytest.mark.parametrize(
    ("reference", "detail", "cure"),
    [
        ("localhost/telepresence-py-sidecar:1", "ErrImagePull: x", "telepresence-py sidecar load"),
        (REMOTE, DENIED, "if registry.example:5000 wants a login, give the workload or its service account"),
        (REMOTE, LOGIN + "unexpected status from HEAD request: 401 Unauthorized", "imagePullSecret"),
        (REMOTE, LOGIN + f"{REMOTE}: not found", "telepresence-py sidecar push"),
        (REMOTE, LOGIN + "http: server gave HTTP response to HTTPS client", "speaks plain HTTP"),
        (REMOTE, UNKNOWN, "nodes reach registry.example:5000"),
    ],
)
def test_the_sentence_on_a_missing_image_has_the_cure_for_what_the_node_met(reference, detail, cure):
    sentence = no_image(reference, detail)
    assert sentence.startswith(f"the node cannot get the sidecar's image {reference}: ")
    assert cure in sentence
    assert detail in sentence


def test_an_image_of_another_version_is_noticed_with_the_cure():
    other = ChosenImage("registry.example/telepresence-py-sidecar:0.0.1", "named by me")
    notice = version_notice(other)
    assert notice is not None
    assert "0.0.1" in notice
    assert "telepresence-py sidecar push REGISTRY" in notice


@pytest.mark.parametrize("tag", [__version__, "team"])
def test_an_image_of_this_version_or_of_one_that_no_tag_names_is_not(tag):
    assert version_notice(ChosenImage(f"r.example/telepresence-py-sidecar:{tag}", "remembered")) is None


def test_the_settings_of_the_context_choose_the_image_and_it_is_told_why(tmp_path, monkeypatch):
    path = tmp_path / "telepresence-py" / "config.toml"
    path.parent.mkdir()
    path.write_text('[contexts."dev-*"]\nimage = "registry.example/telepresence-py-sidecar:0.0.1"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("TELEPRESENCE_PY_IMAGE", raising=False)
    events = []
    assert image_for(None, "dev-eu", events.append).endswith("sidecar:0.0.1")
    assert [event.name for event in events] == ["image", "image-version"]
    assert str(path) in events[0].text
    assert image_for("a/b:1", "dev-eu", events.append) == "a/b:1"
