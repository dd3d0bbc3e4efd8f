"""What the serving process does before the first request."""

import socket
import subprocess
import sys

import pytest

from signer.errors import ListenError
from signer.server import open_listener


def test_free_port_is_bound() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_port_in_use_is_named() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ListenError, match=f"port {port}: Address already in use\\.$"):
            open_listener("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ListenError, match="Cannot listen on"):
        open_listener(host, 0)


def test_p6_memory_is_out_of_reach_of_the_users_other_programs() -> None:
    """In a process of its own: 3 is PR_GET_DUMPABLE, which says whether it can be traced."""
    program = (
        "import ctypes, resource; from signer.server import protect_memory; protect_memory();"
        "print(ctypes.CDLL(None).prctl(3), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert result.stdout == b"0 (0, 0)\n"


def test_listening_is_left_to_the_server_that_sets_the_options_first() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
