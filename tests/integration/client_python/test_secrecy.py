"""No secret of the caller stands in anything that the client says, whatever goes wrong."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator

import pytest

from patchproof_client import Network, OwnerKey, PatchProofClient, PatchProofError, RetryPolicy
from tests.integration.client_python.conftest import API_KEY, MakeClient
from tests.integration.client_python.test_logging_in import BEGUN, USER, completed, token
from tests.integration.client_python.test_retrying import ACCEPTED, CUT, HALF, TXID, refusal
from tests.integration.clients.scripted_server import WEB_PAGE, Reply, ScriptedServer, json_reply

SECRET = "5a" * 32
KEY = OwnerKey.from_hex(SECRET, Network.REGTEST)
TOKEN = token("first")
SECRETS = (API_KEY, SECRET, str(int(SECRET, 16)), KEY.to_wif(), TOKEN)
CALLS: dict[str, Callable[[PatchProofClient], object]] = {
    "register": lambda client: client.register({"uid_tag_id": "04A1"}, KEY.address),
    "transfer": lambda client: client.transfer("04A1", TXID, KEY, KEY.address),
    "unlock": lambda client: client.unlock("04A1", KEY, current_txid=TXID),
    "login": lambda client: client.login(USER, KEY, renew=True),
    "claim": lambda client: client.create_claim("04A1", KEY, "user"),
    "export": lambda client: client.export_data(),
    "logout": lambda client: client.logout(),
}
ANSWERS = {
    "cut": CUT,
    "half": HALF,
    "page": Reply(WEB_PAGE),
    "refused": refusal(401, "token_expired"),
    "unavailable": refusal(503, "service_unavailable"),
    "empty": json_reply({}),
    "list": json_reply([]),
    "token of no shape": json_reply({"M": "ab" * 24, "token": f"{TOKEN} and more"}),
}
OBJECTS = ("empty", "token of no shape")


def everything_told(error: BaseException) -> Iterator[str]:
    """What a terminal, a log and an error tracker that keeps locals would show."""
    yield str(error)
    yield repr(error)
    yield repr(vars(error))
    yield from traceback.format_exception(error)
    yield from _locals_of_the_client(error)


def _locals_of_the_client(error: BaseException) -> Iterator[str]:
    frame = error.__traceback__
    while frame is not None:
        if "patchproof_client" in frame.tb_frame.f_code.co_filename:
            yield repr(frame.tb_frame.f_locals)
        frame = frame.tb_next


@pytest.mark.parametrize(
    ("name", "answer"),
    # An export may hold anything.
    [(n, a) for n in CALLS for a in ANSWERS if n != "export" or a not in OBJECTS],
)
def test_no_error_holds_a_secret(
    make_client: MakeClient,
    scripted: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    name: str,
    answer: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    client = make_client(RetryPolicy(tries=2, first_delay_seconds=0.001))
    client.use_token(TOKEN)
    scripted.prepare(ANSWERS[answer])
    with pytest.raises(PatchProofError) as failed:
        CALLS[name](client)
    error = failed.value
    assert error.__context__ is None or isinstance(error.__context__, PatchProofError)
    told = [*everything_told(error), caplog.text, repr(client)]
    for secret in SECRETS:
        assert not any(secret in text for text in told), name


def test_no_representation_holds_a_secret(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(BEGUN, completed("first"), ACCEPTED)
    client.login(USER, KEY, renew=True)
    client.transfer("04A1", TXID, KEY, KEY.address)
    shown = [repr(client), str(client), *(repr(value) for value in vars(client).values())]
    shown += [repr(value) for value in vars(client._transport).values()]
    for secret in SECRETS:
        assert not any(secret in text for text in shown)
