"""PURE. Turns a step that the kernel refused into a sentence: which step, why, and what cures it.

unshare() alone tells little: with AppArmor's restriction it succeeds and the capabilities are missing later.
So the whole set-up is tried, and the step that failed is judged together with the machine's settings.
"""

from __future__ import annotations

import errno

from telepresence_py.isolation.facts import HostFacts
from telepresence_py.isolation.steps import Refusal, Step

_ABSENT = {errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL}
_FORBIDDEN = {errno.EPERM, errno.EACCES}


def explain(refusal: Refusal, facts: HostFacts) -> str:
    """One sentence for the user."""
    if refusal.step is Step.SUDO:
        return refusal.detail
    if refusal.step is Step.DOCKER:
        return f"docker cannot start what makes the namespaces: {refusal.detail}"
    if refusal.step is Step.PODMAN:
        return f"podman's user namespace cannot be used: {refusal.detail}"
    name = errno.errorcode.get(refusal.errno, "no error number")
    return (
        f"the kernel does not let the command have a network and files of its own: {refusal.step.value} "
        f"failed ({refusal.detail}; {name}); {_cure(refusal, facts)}"
    )


def _cure(refusal: Refusal, facts: HostFacts) -> str:
    if refusal.errno in {errno.ENOSPC, errno.EUSERS}:
        return _limit(refusal.step, facts)
    if refusal.step is Step.FILTER:
        if refusal.errno == errno.EBUSY:
            return (
                "a filter of this machine asks already, as that of WSL2's mirrored networking: switch it off"
            )
        return (
            "that needs Linux 5.6 or newer, and that one may look into one's own processes; "
            f"this is {facts.kernel}"
        )
    if refusal.errno in _FORBIDDEN:
        return _permission(facts)
    if refusal.step is Step.CAPTURE and refusal.errno in _ABSENT:
        return (
            "this kernel seems to lack nf_tables with tproxy and socket matching: load them as root with "
            "`modprobe -a nf_tables nft_tproxy nft_socket`, or use a kernel that has them"
        )
    if refusal.step is Step.REDIRECTION and refusal.errno in _ABSENT:
        return (
            "this kernel seems to lack nf_tables with redirection or conntrack: load them as root with "
            "`modprobe -a nft_chain_nat nft_redir nft_ct nf_conntrack_netlink`, or use a kernel that has them"
        )
    if refusal.step is Step.INTERFACE and refusal.errno in _ABSENT:
        return "this kernel lacks dummy, bridge and veth interfaces: `modprobe dummy` as root loads one"
    if refusal.step is Step.USER_NAMESPACE and refusal.errno == errno.EINVAL:
        return "this kernel seems to be built without user namespaces (CONFIG_USER_NS): use one that has them"
    return f"this is unexpected on kernel {facts.kernel}: please report it with the output of --debug"


def _limit(step: Step, facts: HostFacts) -> str:
    limits = {"user.max_user_namespaces": facts.max_user_namespaces}
    if step is not Step.USER_NAMESPACE:
        limits["user.max_net_namespaces"] = facts.max_net_namespaces
    for setting, value in limits.items():
        if value == 0:
            return f"{setting} is 0: raise it as root with `sysctl -w {setting}=15000`"
    settings = " and ".join(f"{setting} ({value})" for setting, value in limits.items())
    return (
        f"a limit is reached: raise {settings} as root with `sysctl -w`, or end programs that hold namespaces"
    )


def _permission(facts: HostFacts) -> str:
    if facts.unprivileged_userns_clone == 0 and facts.user_id != 0:
        return (
            "kernel.unprivileged_userns_clone is 0: allow it as root with "
            "`sysctl -w kernel.unprivileged_userns_clone=1`"
        )
    if facts.apparmor_restricts_userns == 1:
        return (
            "AppArmor withholds capabilities in user namespaces: allow them as root with "
            "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or by an AppArmor profile with "
            "`userns,` for the Python that runs this"
        )
    if facts.container:
        return (
            f"we run in {facts.container}, which forbids it: start it with a seccomp profile that allows "
            "user namespaces (for Docker: `--security-opt seccomp=unconfined`), or run outside of it"
        )
    if facts.seccomp == 2:
        return "a seccomp filter forbids it: run outside of the sandbox that set it"
    return "a security module or a chroot forbids it: ask this machine's administrator for user namespaces"
