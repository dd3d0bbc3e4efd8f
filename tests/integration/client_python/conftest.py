"""A client and a server that answers what the test prepares."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from patchproof_client import PatchProofClient, RetryPolicy
from tests.integration.clients.scripted_server import ScriptedServer

API_KEY = "pp_the-api-key-of-the-brand"
QUICK = RetryPolicy(tries=4, timeout_seconds=10.0, first_delay_seconds=0.001)
MakeClient = Callable[..., PatchProofClient]


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    """Yield a server that answers what the test prepares."""
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def make_client(scripted: ScriptedServer) -> Iterator[MakeClient]:
    """Make clients of the scripted server with a policy of their own."""
    made: list[PatchProofClient] = []

    def make(policy: RetryPolicy = QUICK, api_key: str | None = API_KEY) -> PatchProofClient:
        made.append(PatchProofClient(scripted.url, api_key, retries=policy))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: MakeClient) -> PatchProofClient:
    return make_client()
