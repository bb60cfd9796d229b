"""Sentences for each way in which kernels refuse; and that a real kernel's refusals lead to them."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from telepresence_py.isolation import METHODS, Method, enter, userns
from telepresence_py.isolation.facts import HostFacts, gather
from telepresence_py.isolation.namespaces import enter_user_namespace
from telepresence_py.isolation.refusals import explain
from telepresence_py.isolation.steps import Refusal, Step
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.process import kernel
from tests.telepresence_py.isolation.joined import fork_agent, run_trio_as, view

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22


def facts(**known: Any) -> HostFacts:
    return replace(HostFacts(platform="linux", kernel="6.8.0", user_id=1000), **known)


@pytest.mark.parametrize(
    ("step", "number", "known", "cure"),
    [
        (
            Step.USER_NAMESPACE,
            errno.ENOSPC,
            {"max_user_namespaces": 0},
            "sysctl -w user.max_user_namespaces=",
        ),
        (
            Step.USER_NAMESPACE,
            errno.ENOSPC,
            {"max_user_namespaces": 90},
            "raise user.max_user_namespaces (90)",
        ),
        (Step.NAMESPACES, errno.ENOSPC, {"max_net_namespaces": 0}, "sysctl -w user.max_net_namespaces="),
        (
            Step.USER_NAMESPACE,
            errno.EPERM,
            {"unprivileged_userns_clone": 0},
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            Step.ID_MAP,
            errno.EACCES,
            {"apparmor_restricts_userns": 1},
            "apparmor_restrict_unprivileged_userns=0",
        ),
        (Step.NAMESPACES, errno.EPERM, {"apparmor_restricts_userns": 1}, "AppArmor profile"),
        (Step.USER_NAMESPACE, errno.EPERM, {"container": "Docker", "seccomp": 2}, "seccomp=unconfined"),
        (Step.USER_NAMESPACE, errno.EPERM, {"seccomp": 2}, "seccomp filter"),
        (Step.USER_NAMESPACE, errno.EPERM, {}, "chroot"),
        (Step.USER_NAMESPACE, errno.EINVAL, {}, "CONFIG_USER_NS"),
        (Step.CAPTURE, errno.ENOENT, {}, "modprobe -a nf_tables nft_tproxy nft_socket"),
        (Step.INTERFACE, errno.EOPNOTSUPP, {}, "modprobe dummy"),
        (Step.MOUNTS, errno.EIO, {}, "6.8.0"),
    ],
)
def test_a_refusal_names_the_step_and_its_cure(
    step: Step, number: int, known: dict[str, Any], cure: str
) -> None:
    sentence = explain(Refusal(step, number, os.strerror(number)), facts(**known))
    assert step.value in sentence
    assert os.strerror(number) in sentence
    assert cure in sentence


def test_this_machines_facts_can_be_gathered() -> None:
    gathered = gather()
    assert gathered.platform == "linux"
    assert gathered.user_id == os.geteuid()


def sentence_when(prepare: Callable[[], None]) -> str:
    """What a plain user is told on a machine that `prepare` made worse."""
    method = Method("forked", "by a fork", METHODS[0].hindrance, partial(userns.enter, start=fork_agent))

    async def main() -> str:
        prepare()
        with pytest.raises(PreconditionFailed) as caught:
            async with enter(view(), lambda _event: None, methods=[method]):
                pass
        return caught.value.sentence

    told = run_trio_as("plain", main)
    assert isinstance(told, str)
    return told


def _allow_no_more_namespaces() -> None:
    # limits hold for those below a namespace, so within one of our own we may set them
    enter_user_namespace()
    kernel.write_setting("/proc/sys/user/max_user_namespaces", "0")


def _refuse_by_seccomp(*numbers: int, flags: int = 0) -> Callable[[], None]:
    """Make the system calls fail with EPERM; with `flags`, when their first argument has one of these."""

    def refuse() -> None:
        load_number, load_argument = struct.pack("=HBBI", 0x20, 0, 0, 0), struct.pack("=HBBI", 0x20, 0, 0, 16)
        allow, refused = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000), struct.pack("=HBBI", 6, 0, 0, 0x00050001)
        program = [load_number, struct.pack("=HBBI", 0x15, 0, 3 if flags else 1, numbers[0])]
        if flags:
            program += [load_argument, struct.pack("=HBBI", 0x45, 0, 1, flags)]
        program += [refused, allow]
        code = ctypes.create_string_buffer(b"".join(program))
        filter_ = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        assert libc.prctl(_PR_SET_SECCOMP, 2, filter_, 0, 0) == 0, os.strerror(ctypes.get_errno())

    return refuse


_UNSHARE = {"x86_64": 272, "aarch64": 97}.get(os.uname().machine)


def test_a_machine_that_allows_no_user_namespaces_is_told_how_to() -> None:
    sentence = sentence_when(_allow_no_more_namespaces)
    assert Step.USER_NAMESPACE.value in sentence
    assert "sysctl -w user.max_user_namespaces=" in sentence


@pytest.mark.skipif(_UNSHARE is None, reason="the number of the system call is not known here")
def test_a_sandbox_that_forbids_unshare_is_named() -> None:
    assert _UNSHARE is not None
    sentence = sentence_when(_refuse_by_seccomp(_UNSHARE))
    assert Step.USER_NAMESPACE.value in sentence
    assert "seccomp" in sentence


@pytest.mark.skipif(_UNSHARE is None, reason="the number of the system call is not known here")
def test_a_user_namespace_without_capabilities_is_not_taken_for_success() -> None:
    """As AppArmor does it: unshare of the user namespace succeeds, what needs capabilities does not."""
    assert _UNSHARE is not None
    sentence = sentence_when(_refuse_by_seccomp(_UNSHARE, flags=kernel.CLONE_NEWNET))
    assert Step.NAMESPACES.value in sentence


def test_a_platform_without_namespaces_is_not_even_tried() -> None:
    assert METHODS[0].hindrance(facts(platform="darwin"))
    assert METHODS[0].hindrance(facts()) is None
