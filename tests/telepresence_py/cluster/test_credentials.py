from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest

from telepresence_py.cluster.credentials import Credentials, Login
from telepresence_py.cluster.entries import ClusterEntry, Pem, UserEntry
from telepresence_py.cluster.plugins import read_plugin
from telepresence_py.cluster.providers import ProviderToken
from telepresence_py.model.errors import ClusterUnreachable, PreconditionFailed
from telepresence_py.model.plugin import Failure, PluginEnd
from tests.fakes.cluster import no_plugin

V1 = "client.authentication.k8s.io/v1"
PLUGIN = read_plugin(
    {"command": "login", "apiVersion": V1, "interactiveMode": "Never"}, "", "the user", ClusterEntry("c", "s")
)


class World:
    """The clock, the kubeconfig and the plugin, to be changed by a test; `runs` counts the plugin's."""

    def __init__(self, login=None):
        self.now = 1000.0
        self.login = login or Login(plugin=PLUGIN)
        self.runs = 0
        self.expires = None
        self.always = ""
        self.failure = None
        self.credentials = Credentials(self.read, self.run, lambda: self.now)

    def read(self):
        if isinstance(self.login, Exception):
            raise self.login
        return self.login

    def run(self, call):
        self.runs += 1
        if self.failure is not None:
            return PluginEnd(failure=self.failure)
        status = {"token": self.always or f"t{self.runs}"}
        if self.expires is not None:
            when = datetime.fromtimestamp(self.expires, UTC)
            status["expirationTimestamp"] = when.isoformat().replace("+00:00", "Z")
        return PluginEnd(0, json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status}))

    def token(self):
        return self.credentials.identity().authorization.removeprefix("Bearer ")


def test_a_plugin_is_run_once_until_its_credential_expires():
    world = World()
    world.expires = 1060
    assert (world.runs, world.token(), world.token()) == (0, "t1", "t1")
    world.now, world.expires = 1059.9, 2000
    assert world.token() == "t1"
    world.now = 1060
    assert world.token() == "t2"


def test_what_is_refused_before_its_time_is_asked_for_again_but_not_at_once():
    world = World()
    identity = world.credentials.identity()
    assert not world.credentials.refused(identity)
    world.now += 31
    assert world.credentials.refused(identity)
    assert (world.token(), world.runs) == ("t2", 2)
    assert world.credentials.refused(identity), "somebody else has renewed it meanwhile"
    assert world.runs == 2


def test_a_plugin_that_fails_is_left_in_peace_for_a_while():
    world = World()
    world.failure = Failure.TOO_LATE
    for _ in range(3):
        with pytest.raises(ClusterUnreachable, match="did not answer in time"):
            world.credentials.identity()
    assert world.runs == 1
    world.now, world.failure = world.now + 11, None
    assert world.token() == "t2"


def test_a_plugin_asks_as_soon_as_it_may_have_the_terminal():
    world = World()
    world.failure = Failure.TERMINAL_TAKEN
    with pytest.raises(ClusterUnreachable, match="when the command has ended"):
        world.credentials.identity()
    world.failure = None
    assert world.token() == "t2"


def test_a_credential_that_had_expired_when_it_was_given_explains_a_refusal():
    world = World()
    world.expires, world.always = 900, "same"
    identity = world.credentials.identity()
    with pytest.raises(
        ClusterUnreachable, match="login gave a credential that expired at 1970-01-01 00:15:00"
    ):
        world.credentials.refused(identity)


@pytest.mark.parametrize(
    "user", [UserEntry("own"), UserEntry(basic=("u", "p")), UserEntry(certificate=Pem(b"c"), key=Pem(b"k"))]
)
def test_a_plugin_is_not_run_where_the_user_has_something_of_its_own(user):
    world = World(Login(user, PLUGIN))
    assert world.credentials.identity()
    assert world.runs == 0


def test_a_name_and_password_are_sent_as_such():
    world = World(Login(UserEntry(basic=("me", "pass"))))
    assert world.credentials.identity().authorization == "Basic bWU6cGFzcw=="


def test_a_token_file_is_read_again_within_a_minute_and_at_a_refusal(tmp_path):
    path = tmp_path / "token"
    path.write_text("one\n")
    world = World(Login(UserEntry("inline", str(path))))
    identity = world.credentials.identity()
    path.write_text("two\n")
    assert world.token() == "one"
    assert world.credentials.refused(identity)
    path.write_text("three")
    assert world.token() == "two"
    world.now += 59
    assert world.token() == "three"
    path.unlink()
    world.now += 59
    assert world.token() == "three"


@pytest.mark.parametrize("text", [None, "", " \n", "a\nb"])
def test_a_token_file_without_a_token_is_told_unless_there_is_another(tmp_path, text):
    if text is not None:
        (tmp_path / "token").write_text(text)
    with pytest.raises(ClusterUnreachable, match=r"token file .*token"):
        World(Login(UserEntry("", str(tmp_path / "token")))).token()
    assert World(Login(UserEntry("inline", str(tmp_path / "token")))).token() == "inline"


def test_a_certificate_is_read_again_when_its_file_was_exchanged(tmp_path):
    for name in ("c", "k"):
        (tmp_path / name).write_text(f"{name} one")
    user = UserEntry(certificate=Pem(path=str(tmp_path / "c")), key=Pem(path=str(tmp_path / "k")))
    world = World(Login(user))
    first = world.credentials.identity()
    assert (first.certificate, first.key) == (b"c one", b"k one")
    for name in ("c", "k"):
        (tmp_path / "new").write_text(f"{name} two")
        os.replace(tmp_path / "new", tmp_path / name)
    second = world.credentials.identity()
    assert (second.certificate, second.key) == (b"c two", b"k two")
    (tmp_path / "k").unlink()
    assert world.credentials.identity() == second


def test_a_login_elsewhere_is_found_when_the_server_refuses():
    world = World(Login(UserEntry("old")))
    identity = world.credentials.identity()
    assert not world.credentials.refused(identity)
    world.login = PreconditionFailed("half written")
    assert not world.credentials.refused(identity)
    world.login = Login(UserEntry("new"))
    assert world.credentials.refused(identity)
    assert world.token() == "new"


def test_a_providers_token_is_good_until_it_expires_and_is_read_again_then():
    world = World(Login(provider=ProviderToken("one", 1060.0)))
    assert world.token() == "one"
    world.now = 1060.0
    with pytest.raises(ClusterUnreachable, match="kubectl"):
        world.token()
    world.login = Login(provider=ProviderToken("two", 2000.0))
    assert world.token() == "two"


def test_secrets_are_not_shown():
    identity = World(Login(UserEntry("s3cret"))).credentials.identity()
    assert "s3cret" not in repr(identity)


def test_nobody_in_particular_has_no_credentials():
    assert Credentials(Login, no_plugin).identity().authorization == ""
