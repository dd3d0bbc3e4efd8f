"""WhatsOnChain's client against prepared answers: broadcasts."""

import json

import pytest

from app.clients.outcomes import (
    BroadcastStatus,
)
from app.clients.whatsonchain import WhatsOnChainClient
from tests.integration.clients.scripted_server import (
    WEB_PAGE,
    Reply,
    ScriptedServer,
)

A = "aa" * 32
RAW_TX = (
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff00"
    "1d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b20"
    "6f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afd"
    "b0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c"
    "384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
TXID = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"


@pytest.mark.parametrize("body", [TXID, f'"{TXID}"', f'"{TXID}"\n', TXID.upper()])
def test_our_txid_is_acceptance(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, body: str
) -> None:
    scripted.prepare(Reply(body.encode()))

    outcome = scripted_woc.broadcast(RAW_TX, TXID)

    assert (outcome.status, outcome.http_status) == (BroadcastStatus.ACCEPTED, 200)
    assert scripted.seen[0].path == "/tx/raw"
    assert scripted.seen[0].json == {"txhex": RAW_TX}
    assert scripted.seen[0].headers["Accept"] == "text/plain"


@pytest.mark.parametrize("http_status", [400, 422, 500, 503])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("257: txn-already-known", BroadcastStatus.ALREADY_KNOWN),
        ("Transaction already in the mempool", BroadcastStatus.ALREADY_KNOWN),
        ("Missing inputs", BroadcastStatus.MISSING_INPUTS),
        ("258: txn-mempool-conflict", BroadcastStatus.CONFLICT),
        ("66: mempool min fee not met", BroadcastStatus.FEE_TOO_LOW),
        ("66: mempool full", BroadcastStatus.UNKNOWN),
        ("TX decode failed", BroadcastStatus.INVALID),
        ("16: something nobody has met", BroadcastStatus.UNKNOWN),
    ],
)
def test_m6_a_refusal_is_sorted_by_its_words_whatever_the_code(
    scripted: ScriptedServer,
    scripted_woc: WhatsOnChainClient,
    http_status: int,
    words: str,
    status: BroadcastStatus,
) -> None:
    text = f"unexpected response code 500: {words}"
    scripted.prepare(Reply(json.dumps(text).encode(), http_status))

    outcome = scripted_woc.broadcast(RAW_TX, TXID)

    assert (outcome.status, outcome.reason, outcome.http_status) == (status, text, http_status)
    assert len(scripted.seen) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(A.encode()),
        Reply(b""),
        Reply(b"ok"),
        Reply(WEB_PAGE),
        Reply(b'"257: txn-already-known"'),
        Reply(TXID.encode(), 201),
        Reply(WEB_PAGE, 400),
        Reply(b"<p>Missing inputs</p>", 500),
        Reply(b"", 302, {"Location": "/"}),
        Reply(b"Missing inputs", 429),
        Reply(b"Missing inputs", 401),
        Reply(b"", 403),
        Reply(b"", 404),
        Reply(b"", 500),
        Reply(b"\xff\xfe\xfd", 400),
        Reply(is_cut=True),
        Reply(delay_seconds=0.8),
        Reply(TXID.encode()[:-1], missing_bytes=1),
    ],
)
def test_m6_what_proves_nothing_is_unknown_and_sent_once(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, pauses: list[float], reply: Reply
) -> None:
    scripted.prepare(reply)

    outcome = scripted_woc.broadcast(RAW_TX, TXID)

    assert outcome.status is BroadcastStatus.UNKNOWN
    assert outcome.reason
    assert (len(scripted.seen), pauses) == (1, [])


def test_a_broadcast_passes_on_how_long_to_wait(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    scripted.prepare(Reply(b"", 429, {"Retry-After": "7"}))

    assert scripted_woc.broadcast(RAW_TX, TXID).retry_after_seconds == 7.0
