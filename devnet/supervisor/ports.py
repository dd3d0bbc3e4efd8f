"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

# Below the range from which systems take ports for outgoing connections, so that a port kept
# for the next start is seldom gone by then.
LOWEST, HIGHEST = 20000, 32000


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port(taken: Collection[int]) -> int:
    """A port that nobody listens on and that is not among those taken."""
    choice = random.SystemRandom()
    while True:
        port = choice.randrange(LOWEST, HIGHEST)
        if port not in taken and is_free(port):
            return port
