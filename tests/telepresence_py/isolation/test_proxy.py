"""The method that needs no namespace."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from telepresence_py.isolation import proxy
from telepresence_py.isolation.prefix_link import is_leftover
from telepresence_py.isolation.proxy import ROOT, BesideCli, proxy_variables
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.world import NetworkView

VIEW = NetworkView(
    "orders",
    ("10.1.2.3",),
    volume_paths=("/etc/orders/more", "/etc/orders", "/data"),
    volume_files={"/etc/orders/single.conf": b"colour"},
)


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "telepresence-py"


def in_world(test, view: NetworkView = VIEW) -> None:
    async def main() -> None:
        with trio.fail_after(20):
            async with proxy.enter(view, lambda _text: None) as world:
                await test(world)

    trio.run(main)


def test_the_variables_lead_to_a_listener_that_only_this_laptop_reaches():
    async def test(world: BesideCli) -> None:
        (listener,) = world.proxies
        address, port = listener.getsockname()
        assert address == "127.0.0.1"
        assert world.proxy_secret in world.variables["HTTPS_PROXY"]
        assert world.variables["http_proxy"].endswith(f"@127.0.0.1:{port}")

    in_world(test)


def test_the_variables_are_in_both_spellings_and_leave_names_to_the_proxy():
    variables = proxy_variables(4711, "s3cret")
    assert variables["ALL_PROXY"] == "socks5h://telepresence:s3cret@127.0.0.1:4711"
    assert variables["HTTP_PROXY"] == variables["https_proxy"] == "http://telepresence:s3cret@127.0.0.1:4711"
    assert {name.lower() for name in variables} <= variables.keys()
    assert "localhost" in variables["no_proxy"].split(",")


def test_every_session_has_a_secret_of_its_own():
    secrets = set()

    async def test(world: BesideCli) -> None:
        secrets.add(world.proxy_secret)

    in_world(test)
    in_world(test)
    assert len(secrets) == 2


def test_volumes_are_directories_below_one_that_is_the_users_alone_and_gone_at_the_end():
    roots = []

    async def test(world: BesideCli) -> None:
        root = Path(world.variables[ROOT])
        roots.append(root)
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o700
        assert world.volume_directories.keys() == {*VIEW.volume_paths}
        for path, descriptor in world.volume_directories.items():
            assert os.path.samestat(os.fstat(descriptor), (root / path[1:]).stat())
        assert (root / "etc/orders/single.conf").read_bytes() == b"colour"

    in_world(test)
    assert not roots[0].exists()


def test_no_path_of_a_volume_leads_out_of_that_directory():
    async def test(world: BesideCli) -> None:
        assert (Path(world.variables[ROOT]) / "outside").is_dir()

    in_world(test, VIEW._replace(volume_paths=("/../../outside",), volume_files={}))


def test_without_volumes_no_directory_is_made(runtime):
    async def test(world: BesideCli) -> None:
        assert ROOT not in world.variables
        assert not runtime.exists()

    in_world(test, NetworkView("orders", ("10.1.2.3",)))


def test_what_a_killed_session_left_is_removed_and_what_a_living_one_uses_is_not(runtime):
    runtime.mkdir(mode=0o700)
    left = runtime / "volumes-of-the-dead"
    (left / "etc").mkdir(parents=True)

    living = []

    async def test(world: BesideCli) -> None:
        async with proxy.enter(VIEW, lambda _text: None) as other:
            living.append(
                [one.exists() for one in (left, *(Path(w.variables[ROOT]) for w in (world, other)))]
            )

    in_world(test)
    assert living == [[False, True, True]]
    assert list(runtime.iterdir()) == []


def test_a_port_that_was_listened_on_before_is_not_the_childs_until_it_is_free():
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]

        async def test(world: BesideCli) -> None:
            assert port not in world.listening_ports()
            theirs.close()
            assert port not in world.listening_ports()
            with socket.create_server(("127.0.0.1", port)):
                assert world.listening_ports()[port] == {"127.0.0.1"}

        in_world(test)


def test_the_proxy_itself_is_not_what_the_child_listens_on():
    async def test(world: BesideCli) -> None:
        assert world.proxies[0].getsockname()[1] not in world.listening_ports()

    in_world(test)


def test_the_childs_listeners_are_reached_by_the_laptops_loopback():
    async def test(world: BesideCli) -> None:
        with socket.create_server(("127.0.0.1", 0)) as childs:
            made = await world.socket(socket.AF_INET)
            with trio.socket.from_stdlib_socket(made) as connection:
                await connection.connect(childs.getsockname())
                childs.accept()[0].close()

    in_world(test)


@pytest.mark.parametrize("mode", [None, 0o750])
def test_a_prefix_leads_to_the_volumes_and_is_what_it_was_at_the_end(tmp_path, runtime, mode):
    prefix = tmp_path / "pod"
    if mode is not None:
        prefix.mkdir()
        prefix.chmod(mode)

    async def test(world: BesideCli) -> None:
        assert world.variables[ROOT] == str(prefix)
        assert (prefix / "etc/orders/single.conf").read_bytes() == b"colour"
        assert not is_leftover(str(prefix)), "its session lives"

    in_world(test, VIEW._replace(prefix=str(prefix)))
    assert list(runtime.iterdir()) == []
    if mode is None:
        assert not prefix.is_symlink()
    else:
        assert prefix.is_dir()
        assert stat.S_IMODE(prefix.lstat().st_mode) == mode


def test_a_prefix_that_a_killed_session_left_is_taken_again(tmp_path, runtime):
    prefix = tmp_path / "pod"
    prefix.symlink_to(runtime / "volumes-of-the-dead")
    assert is_leftover(str(prefix))

    async def test(world: BesideCli) -> None:
        assert (prefix / "data").is_dir()

    in_world(test, VIEW._replace(prefix=str(prefix)))
    assert list(tmp_path.iterdir()) == [runtime]


def test_what_is_at_a_prefix_by_now_is_left_alone(tmp_path):
    prefix = tmp_path / "pod"
    prefix.mkdir()
    (prefix / "users").write_text("own")

    async def test(_world: BesideCli) -> None:
        pytest.fail("it was taken")

    with pytest.raises(PreconditionFailed, match=f"--mount {prefix}"):
        in_world(test, VIEW._replace(prefix=str(prefix)))
    assert (prefix / "users").read_text() == "own"


def test_a_file_has_the_mode_that_is_given(tmp_path):
    async def test(world: BesideCli) -> None:
        path = Path(world.variables[ROOT]) / "etc/orders/single.conf"
        assert stat.S_IMODE(path.stat().st_mode) == 0o750

    in_world(test, VIEW._replace(file_modes={"/etc/orders/single.conf": 0o750}))
