"""Free ports on loopback, for the servers of tests and drills."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from typing import Final

# Below those that the system gives to clients, and not from the same start in every process of a machine.
_ports: Final = itertools.cycle(range(10_000 + os.getpid() * 7 % 20_000, 32_000, 2))


def free_port() -> int:
    """A port that nobody listens at, and nobody at the one after it; this process is given another each time."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, socket.socket() as after, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            after.bind(("127.0.0.1", port + 1))
            return port
