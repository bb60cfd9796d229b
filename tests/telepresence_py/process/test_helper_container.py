"""The helper of docker's: what it is started with, and the image of nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

from telepresence_py.process.docker import Daemon
from telepresence_py.process.helper_container import (
    IMAGE,
    HelperContainer,
    bring_image,
    helper_words,
)


def test_the_image_has_no_file_and_is_the_same_each_time(tmp_path):
    client = tmp_path / "docker"
    client.write_text(f'#!/bin/sh\n[ "$3" = load ] && cat >>{tmp_path}/given\n')
    client.chmod(0o755)
    bring_image(Daemon(str(client), "unix:///x"))
    first = (tmp_path / "given").read_bytes()
    bring_image(Daemon(str(client), "unix:///x"))
    assert (tmp_path / "given").read_bytes() == first * 2
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:

        def read(name):
            return archive.extractfile(name).read()

        (manifest,) = json.loads(read("manifest.json"))
        assert manifest["RepoTags"] == [IMAGE]
        settings = read(manifest["Config"])
        assert hashlib.sha256(settings).hexdigest() == manifest["Config"].removesuffix(".json")
        layer = read("layer.tar")
        assert json.loads(settings)["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as empty:
        assert empty.getnames() == []


def test_all_that_is_bound_is_read_only_and_nothing_is_fetched():
    words = helper_words("helper", "/usr/bin/nsenter", ["setpriv", "--", "python"])
    assert all(word.endswith(",readonly") for word in words if word.startswith("--mount=type=bind"))
    assert {"--pull=never", "--rm", "--network=none", "--cap-drop=ALL", "--pid=host"} <= set(words)
    assert "--privileged" not in words
    where = f"--mount=/laptop/{os.getpid()}/ns/mnt"
    assert words[words.index(IMAGE) + 1 :] == (where, "--", "setpriv", "--", "python")


def test_one_that_others_join_has_processes_and_a_host_name_of_its_own():
    words = helper_words("helper", "/usr/bin/nsenter", ["it"], "orders-7d4f")
    assert words[words.index("--hostname") + 1] == "orders-7d4f"
    assert "--pid=host" not in words


def test_the_client_is_ended_once_its_program_was_met_and_not_before(tmp_path):
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\nexec sleep 1000\n")
    client.chmod(0o755)
    helper = HelperContainer(Daemon(str(client), "unix:///x"), ["run"])
    pid = helper._client.pid
    helper.is_met(os.getpid())
    assert helper.pid == os.getpid()
    assert not os.path.exists(f"/proc/{pid}")
    helper.let_go()
    assert helper.finish() == 0
