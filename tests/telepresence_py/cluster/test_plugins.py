from __future__ import annotations

import base64
import json

import pytest

from telepresence_py.cluster.entries import ClusterEntry
from telepresence_py.cluster.plugins import credential_of, read_plugin
from telepresence_py.model.errors import ClusterUnreachable, PreconditionFailed
from telepresence_py.model.plugin import Failure, Interaction, PluginEnd

V1 = "client.authentication.k8s.io/v1"
ENTRY = {"command": "login", "apiVersion": V1, "interactiveMode": "Never"}
CLUSTER = ClusterEntry(
    "c", "https://api", "name", True, b"pem", "http://me:secret@proxy", {"audience": ["a"]}
)


def read(**changes):
    entry = {key: value for key, value in (ENTRY | changes).items() if value is not None}
    return read_plugin(entry, "/home/me/.kube", "the user", CLUSTER)


def end(status=None, **changes):
    answer = {"apiVersion": V1, "kind": "ExecCredential", "status": status or {}} | changes
    return PluginEnd(0, json.dumps(answer))


def test_a_plugin_is_called_with_its_words_and_variables():
    plugin = read(args=["get", 7], env=[{"name": "A", "value": "1"}, {"name": "B", "value": None}])
    assert plugin.call.command == ("login", "get", "7")
    assert plugin.call.environment == {"A": "1", "B": ""}
    assert plugin.call.info == {"kind": "ExecCredential", "apiVersion": V1, "spec": {}}


@pytest.mark.parametrize(
    ("command", "path"),
    [("login", "login"), ("./login", "/home/me/.kube/./login"), ("/bin/login", "/bin/login")],
)
def test_a_command_with_a_slash_is_relative_to_the_kubeconfig(command, path):
    assert read(command=command).call.command == (path,)


def test_it_is_told_of_the_cluster_if_it_wants_to_know():
    assert read(provideClusterInfo=True).call.info["spec"] == {
        "cluster": {
            "server": "https://api",
            "tls-server-name": "name",
            "insecure-skip-tls-verify": True,
            "certificate-authority-data": base64.b64encode(b"pem").decode(),
            "proxy-url": "http://me:secret@proxy",
            "config": {"audience": ["a"]},
        }
    }


@pytest.mark.parametrize(
    ("version", "mode", "interaction"),
    [
        ("v1beta1", None, Interaction.IF_AVAILABLE),
        ("v1beta1", "Never", Interaction.NEVER),
        ("v1", "IfAvailable", Interaction.IF_AVAILABLE),
        ("v1", "Always", Interaction.ALWAYS),
    ],
)
def test_whether_it_may_ask(version, mode, interaction):
    plugin = read(apiVersion=f"client.authentication.k8s.io/{version}", interactiveMode=mode)
    assert plugin.call.interaction is interaction


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command": None}, "names no command"),
        ({"apiVersion": None}, "v1beta1"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1beta1"),
        ({"interactiveMode": None}, "Never, IfAvailable or Always"),
        ({"interactiveMode": "never"}, "Never, IfAvailable or Always"),
        ({"args": "get"}, "lists"),
        ({"env": [{"value": "1"}]}, "name and a value"),
    ],
)
def test_an_entry_that_kubectl_would_refuse_is_refused(changes, words):
    with pytest.raises(PreconditionFailed, match=words):
        read(**changes)


def test_a_token_a_certificate_or_both_are_a_credential():
    found = credential_of(read(), end({"token": "t", "expirationTimestamp": "2026-01-02T03:04:05Z"}))
    assert (found.token, found.expires) == ("t", 1767323045.0)
    found = credential_of(read(), end({"token": "t", "clientCertificateData": "c", "clientKeyData": "k"}))
    assert (found.token, found.certificate, found.key, found.expires) == ("t", b"c", b"k", None)
    assert "t" not in repr(found).replace("PluginCredential", "").replace("expires", "")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (PluginEnd(0, "s3cret"), "something else"),
        (PluginEnd(0, '["s3cret"]'), "something else"),
        (end({"token": "s3cret"}, kind="Config"), "something else"),
        (end({"token": "s3cret", "expirationTimestamp": "soon"}), "something else"),
        (end(apiVersion="client.authentication.k8s.io/v1beta1"), "correct apiVersion"),
        (end({}), "no credential"),
        (end({"clientCertificateData": "s3cret"}), "without its key"),
        (end({"token": "s3cret\nX-Evil: 1"}), "line break"),
        (PluginEnd(7, "s3cret", "no session\nlog in"), r"exit code 7 \(no session log in\)"),
        (PluginEnd(-9, "s3cret"), "signal 9"),
        (PluginEnd(failure=Failure.MISSING), "not installed, or not on the PATH"),
        (PluginEnd(failure=Failure.NOT_EXECUTABLE), "cannot be executed"),
        (PluginEnd(failure=Failure.NO_TERMINAL), "there is none"),
        (PluginEnd(failure=Failure.TERMINAL_TAKEN), "when the command has ended"),
        (PluginEnd(failure=Failure.TOO_LATE), "in another terminal"),
    ],
)
def test_whatever_else_it_answers_is_told_in_one_sentence_without_its_output(answer, words):
    with pytest.raises(ClusterUnreachable, match=words) as caught:
        credential_of(read(), answer)
    assert "login" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_how_to_install_it_is_told_without_what_commands_a_terminal():
    plugin = read(installHint="Get it\n\x1b[31mhere")
    with pytest.raises(ClusterUnreachable, match=r"not installed: Get it \[31mhere"):
        credential_of(plugin, PluginEnd(failure=Failure.MISSING))
