from __future__ import annotations

import pytest

from telepresence_py.model.errors import BadUsage
from telepresence_py.model.image import (
    DEFAULT_IMAGE,
    is_reference,
    pushed_reference,
    registry_of,
    version_in,
)
from telepresence_sidecar.contract import __version__

OURS = f"telepresence-py-sidecar:{__version__}"


@pytest.mark.parametrize(
    ("word", "reference"),
    [
        ("registry.example", f"registry.example/{OURS}"),
        ("registry.example/team/tools", f"registry.example/team/tools/{OURS}"),
        ("registry.example/team/telepresence-py-sidecar", f"registry.example/team/{OURS}"),
        ("registry.example/team/tp:test", "registry.example/team/tp:test"),
        ("registry.example:test", "registry.example/telepresence-py-sidecar:test"),
        ("registry.example/telepresence-py-sidecar:9", "registry.example/telepresence-py-sidecar:9"),
        ("localhost:5000", f"localhost:5000/{OURS}"),
        ("localhost:5000:test", "localhost:5000/telepresence-py-sidecar:test"),
        ("127.0.0.1:5000/a", f"127.0.0.1:5000/a/{OURS}"),
        ("[::1]:5000", f"[::1]:5000/{OURS}"),
    ],
)
def test_a_registry_is_given_the_images_name_and_version_unless_it_has_them(word, reference):
    assert pushed_reference(word) == reference
    assert is_reference(reference)


@pytest.mark.parametrize(
    "word", ["", "https://registry.example", "registry.example/", "registry.example/Team", "a.b/c d"]
)
def test_what_is_no_registry_is_refused(word):
    with pytest.raises(BadUsage, match="REGISTRY"):
        pushed_reference(word)


def test_a_port_that_is_none_is_not_taken_for_a_tag():
    with pytest.raises(BadUsage, match="999999 is not a port"):
        pushed_reference("registry.example:999999")


def test_a_word_without_a_host_name_is_asked_for_docker_hub():
    with pytest.raises(BadUsage, match=r"did you mean docker\.io/alice"):
        pushed_reference("alice")


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        (DEFAULT_IMAGE, __version__),
        ("registry.example:5000/team/telepresence-py-sidecar:0.9.1", "0.9.1"),
        ("registry.example/telepresence-py-sidecar:0.9.1@sha256:" + "a" * 64, "0.9.1"),
        ("registry.example/telepresence-py-sidecar:team", None),
        ("registry.example:5000/telepresence-py-sidecar", None),
        ("registry.example/other:0.9.1", None),
    ],
)
def test_a_tag_tells_the_version_of_an_image_of_our_name(reference, version):
    assert version_in(reference) == version


@pytest.mark.parametrize("word", ["", " ", "a/Upper", "a b", "x:", "x@sha256:12", "-x", "a//b"])
def test_what_no_runtime_takes_for_a_reference_is_told_apart(word):
    assert not is_reference(word)


def test_the_registry_of_a_reference_is_its_host():
    assert registry_of("registry.example:5000/a/b:1") == "registry.example:5000"
    assert registry_of("team/a:1") is None
    assert registry_of("localhost/a:1") == "localhost"
