"""`python -m telepresence_sidecar WORD`: the pod's program; WORD is a SidecarConfig.

As process 1 of its container it must ask for SIGTERM itself, and at once: imports take most of the start.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

# not by an exception, which Python ignores where it runs a finalizer, and so in the midst of imports
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
gc.disable()  # until all is imported: nothing of that is garbage, and looking for some takes a twelfth of it

from .late import SELDOM_USED, put_off  # noqa: E402

put_off(SELDOM_USED)

from .quick_import import without_openssl  # noqa: E402

with without_openssl():
    import asyncio

    from .contract import FINGERPRINT_LOG_PREFIX, SidecarConfig
    from .facts import is_own_address
    from .health import Health
    from .inbound import Inbound
    from .lifetime import Lifetime
    from .log import Log, process_age
    from .server import serve
    from .service import Service
    from .sockets import listen_everywhere


ADVICE = (
    "this pod stands in for a workload; to have that back: telepresence-py restore KIND/NAME --force, as the "
    "pod's annotation telepresence-py/restore-by has it"
)


async def live(config: SidecarConfig) -> None:
    """From the first listener to the exit."""
    loop = asyncio.get_running_loop()
    log = Log(config.session, config.holder)
    health = Health()
    inbound = Inbound(config.hold_connections, config.hold_seconds, is_own_address)
    lifetime = Lifetime(inbound, config.grace, config.drain_seconds)
    service = Service(inbound, health, lifetime, log)
    loop.add_signal_handler(signal.SIGTERM, lifetime.terminate)
    loop.add_signal_handler(signal.SIGINT, lifetime.terminate)
    service.unserved = await inbound.open_ports(config.ports, config.loopback_ports, config.udp_ports)
    for port, reason in service.unserved.items():
        log.of_session(f"cannot listen on port {port} ({reason})")
    health_server = await loop.create_server(health.protocol, sock=listen_everywhere(config.health_port))
    acceptor, fingerprint = await serve(config.tunnel_port, config.client_key, service)
    lifetime.begin()
    log.of_session(f"listening {process_age():.2f} s after the start")
    log.of_session(ADVICE)
    log.line(FINGERPRINT_LOG_PREFIX + fingerprint)
    log.of_session(f"exit ({await lifetime.ended})")
    acceptor.close()
    health_server.close()
    service.detach()
    inbound.close()
    await asyncio.sleep(0)  # resets leave in this turn of the loop


def main() -> None:
    gc.freeze()
    gc.enable()
    if len(sys.argv) != 2:
        sys.exit("usage: telepresence_sidecar CONFIGURATION")
    try:
        config = SidecarConfig.from_argument(sys.argv[1])
    except (ValueError, TypeError, KeyError) as error:
        sys.exit(f"the configuration is not one of this version: {error}")
    os.umask(0)  # of files that the laptop makes: the umask of its own program counts, and has been applied
    try:
        asyncio.run(live(config))
    except OSError as error:
        sys.exit(f"cannot listen on the sidecar's own ports: {error}")


if __name__ == "__main__":
    main()
