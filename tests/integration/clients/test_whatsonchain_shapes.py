"""WhatsOnChain's client against prepared answers: shapes and lies that the devnet lacks."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.bitcoin.transactions import Outpoint
from app.clients.chain_types import OUTPUT_UNKNOWN, UNSPENT, ChainStatus, Spend, TscProof
from app.clients.outcomes import (
    AuthenticationRefusedError,
    BroadcastStatus,
    ServiceUnavailableError,
    UnexpectedAnswerError,
)
from app.clients.whatsonchain import UnknownBlockError, WhatsOnChainClient
from tests.integration.clients.scripted_server import (
    WEB_PAGE,
    Reply,
    ScriptedServer,
    json_reply,
)

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32
ADDRESS = "1L2F8wGfyhyTPBzAbYJzRqDMDfUPxHGBgC"
RAW_TX = (
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff00"
    "1d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b20"
    "6f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afd"
    "b0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c"
    "384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
TXID = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
HEADER = {
    "hash": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "height": 0,
    "version": 1,
    "merkleroot": TXID,
    "time": 1231006505,
    "nonce": 2083236893,
    "bits": "1d00ffff",
}
INFO = {"chain": "main", "blocks": 635302, "headers": 635299, "bestblockhash": A}


@pytest.fixture
def client(
    scripted: ScriptedServer, sleep: Callable[[float], None]
) -> Iterator[WhatsOnChainClient]:
    """Yield a client of the scripted server that never really sleeps."""
    made = WhatsOnChainClient(
        scripted.url, timeout_seconds=0.6, page_limit=5, sleep=sleep, random_unit=lambda: 0.0
    )
    yield made
    made.close()


def page(*entries: Any, token: str | None = None, **changes: Any) -> Reply:
    wrapper = {"address": ADDRESS, "script": C, "result": list(entries), "error": "", **changes}
    return json_reply(wrapper if token is None else {**wrapper, "nextPageToken": token})


def confirmed(txid: str, vout: int) -> dict[str, Any]:
    return {
        "height": 9,
        "tx_pos": vout,
        "tx_hash": txid,
        "value": 100,
        "isSpentInMempoolTx": False,
        "status": "confirmed",
    }


@pytest.mark.parametrize("body", [TXID, f'"{TXID}"', f'"{TXID}"\n', TXID.upper()])
def test_our_txid_is_acceptance(
    scripted: ScriptedServer, client: WhatsOnChainClient, body: str
) -> None:
    scripted.prepare(Reply(body.encode()))

    outcome = client.broadcast(RAW_TX, TXID)

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
    client: WhatsOnChainClient,
    http_status: int,
    words: str,
    status: BroadcastStatus,
) -> None:
    text = f"unexpected response code 500: {words}"
    scripted.prepare(Reply(json.dumps(text).encode(), http_status))

    outcome = client.broadcast(RAW_TX, TXID)

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
    scripted: ScriptedServer, client: WhatsOnChainClient, pauses: list[float], reply: Reply
) -> None:
    scripted.prepare(reply)

    outcome = client.broadcast(RAW_TX, TXID)

    assert outcome.status is BroadcastStatus.UNKNOWN
    assert outcome.reason
    assert (len(scripted.seen), pauses) == (1, [])


def test_a_broadcast_passes_on_how_long_to_wait(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    scripted.prepare(Reply(b"", 429, {"Retry-After": "7"}))

    assert client.broadcast(RAW_TX, TXID).retry_after_seconds == 7.0


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({}, "Authorization", "mainnet_ab"),
        ({"api_key_header": "woc-api-key"}, "woc-api-key", "mainnet_ab"),
    ],
)
def test_the_key_goes_raw_into_the_configured_header(
    scripted: ScriptedServer, options: dict[str, str], name: str, value: str
) -> None:
    client = WhatsOnChainClient(scripted.url, api_key="mainnet_ab", **options)
    scripted.prepare(json_reply(INFO))

    client.get_chain_info()

    assert scripted.seen[0].headers[name] == value
    client.close()


def test_a_refused_key_is_told_apart(scripted: ScriptedServer, client: WhatsOnChainClient) -> None:
    scripted.prepare(Reply(b"unauthorized", 401))

    with pytest.raises(AuthenticationRefusedError):
        client.get_chain_info()


def test_statuses_are_asked_in_chunks_and_matched_by_txid(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    txids = [f"{n:064x}" for n in range(45)]
    chunks = [txids[0:20], txids[20:40], txids[40:45]]
    scripted.prepare(
        *(json_reply([{"txid": txid} for txid in reversed(chunk)]) for chunk in chunks)
    )

    statuses = client.list_transaction_statuses([*txids, txids[0]])

    assert statuses == {txid: ChainStatus("mempool") for txid in txids}
    assert [request.json["txids"] for request in scripted.seen] == chunks


def test_m7_a_status_that_nobody_told_is_missing_not_unknown(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    scripted.prepare(json_reply([{"txid": C}, {"txid": A, "error": "unknown"}]))

    assert client.list_transaction_statuses([A, B]) == {A: ChainStatus("unknown")}


def test_no_txids_need_no_call(scripted: ScriptedServer, client: WhatsOnChainClient) -> None:
    assert client.list_transaction_statuses([]) == {}
    assert client.find_spends([]) == {}
    assert scripted.seen == []


@pytest.mark.parametrize(
    "reply", [json_reply(None), json_reply([]), Reply(b"", 404), Reply(b"not found", 404)]
)
def test_a_transaction_without_a_proof_has_none(
    scripted: ScriptedServer, client: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    assert client.find_proof(A) is None


@pytest.mark.parametrize("wrap", [lambda proof: proof, lambda proof: [proof]])
def test_a_proof_comes_bare_or_in_an_array(
    scripted: ScriptedServer, client: WhatsOnChainClient, wrap: Callable[[Any], Any]
) -> None:
    scripted.prepare(json_reply(wrap({"index": 1, "txOrId": A, "target": B, "nodes": [C, "*"]})))

    assert client.find_proof(A) == TscProof(A, 1, B, (C, "*"))


@pytest.mark.parametrize("asked", [0, HEADER["hash"]])
def test_a_header_is_found_by_height_and_by_hash(
    scripted: ScriptedServer, client: WhatsOnChainClient, asked: str | int
) -> None:
    scripted.prepare(json_reply(HEADER))

    assert client.get_header(asked).header.block_hash == HEADER["hash"]


@pytest.mark.parametrize("asked", [1, A])
def test_a_header_of_another_block_is_refused(
    scripted: ScriptedServer, client: WhatsOnChainClient, asked: str | int
) -> None:
    scripted.prepare(json_reply(HEADER))

    with pytest.raises(UnexpectedAnswerError):
        client.get_header(asked)


def test_a_block_above_the_tip_is_unknown(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    scripted.prepare(Reply(b"", 404))

    with pytest.raises(UnknownBlockError):
        client.get_header(10**6)


@pytest.mark.parametrize("chain", ["test", "regtest", "stn", "", None])
def test_a_service_on_another_network_is_refused(
    scripted: ScriptedServer, client: WhatsOnChainClient, chain: str | None
) -> None:
    scripted.prepare(json_reply({**INFO, "chain": chain}))

    with pytest.raises(UnexpectedAnswerError):
        client.get_chain_info()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"", 404),
        Reply(b'"not found"', 404),
        page(result=None),
        page(),
        page(result=None, unspent=[]),
    ],
)
def test_an_unused_address_has_no_outputs(
    scripted: ScriptedServer, client: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    assert client.list_unspent(ADDRESS) == []


def test_all_pages_are_read_with_the_token_as_it_came(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    scripted.prepare(
        page(confirmed(A, 0), token="a/b+c=&d"), page(confirmed(B, 1), token="2"), page()
    )

    outputs = client.list_unspent(ADDRESS)

    assert [(output.txid, output.vout) for output in outputs] == [(A, 0), (B, 1)]
    assert [request.path for request in scripted.seen] == [
        f"/address/{ADDRESS}/unspent/all",
        f"/address/{ADDRESS}/unspent/all?token=a%2Fb%2Bc%3D%26d",
        f"/address/{ADDRESS}/unspent/all?token=2",
    ]


@pytest.mark.parametrize(
    "second",
    [
        Reply(b"", 404),
        Reply(b"", 400),
        Reply(b"", 503),
        Reply(WEB_PAGE),
        Reply(is_cut=True),
        json_reply(None),
        page(error="token expired"),
        page(address="1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
    ],
)
def test_m7_a_failing_page_is_never_half_a_list(
    scripted: ScriptedServer, client: WhatsOnChainClient, second: Reply
) -> None:
    scripted.prepare(page(confirmed(A, 0), token="2"), second)

    with pytest.raises(ServiceUnavailableError):
        client.list_unspent(ADDRESS)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(WEB_PAGE),
        Reply(WEB_PAGE, 404),
        Reply(b"", 200),
        Reply(b"", 400),
        Reply(b"", 204),
        json_reply(None),
        json_reply([]),
        json_reply({}),
        page(error="backend unavailable"),
    ],
)
def test_m7_a_provider_hiccup_is_not_an_empty_address(
    scripted: ScriptedServer, client: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(UnexpectedAnswerError):
        client.list_unspent(ADDRESS)


def test_pages_that_go_in_a_circle_are_refused(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    scripted.prepare(page(confirmed(A, 0), token="1"))

    with pytest.raises(UnexpectedAnswerError, match="circle"):
        client.list_unspent(ADDRESS)


def test_pages_without_end_are_refused(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    scripted.prepare(*(page(token=str(n)) for n in itertools.islice(itertools.count(), 9)))

    with pytest.raises(UnexpectedAnswerError, match="more than 5 pages"):
        client.list_unspent(ADDRESS)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (json_reply({"txid": B, "vin": 2, "status": "confirmed"}), Spend(B, 2, True)),
        (json_reply({"txid": B, "vin": 0, "status": "unconfirmed"}), Spend(B, 0, False)),
        (Reply(b"", 404), UNSPENT),
        (Reply(b"bad request", 400), OUTPUT_UNKNOWN),
    ],
)
def test_the_state_of_an_output_is_told_by_the_code(
    scripted: ScriptedServer, client: WhatsOnChainClient, reply: Reply, outcome: Any
) -> None:
    scripted.prepare(reply)

    assert client.find_spend(A, 2) == outcome
    assert scripted.seen[0].path == f"/tx/{A}/2/spent"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(WEB_PAGE, 404),
        Reply(WEB_PAGE, 400),
        Reply(WEB_PAGE),
        json_reply(None),
        Reply(b"", 410),
    ],
)
def test_m7_a_proxys_page_says_nothing_about_an_output(
    scripted: ScriptedServer, client: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(UnexpectedAnswerError):
        client.find_spend(A, 2)


def test_m7_spends_that_the_bulk_form_leaves_open_are_asked_one_by_one(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    spend = {"txid": C, "vin": 93, "status": "confirmed"}
    scripted.prepare(
        json_reply(
            [
                {"utxo": {"txid": A, "vout": 1}, "spentIn": None, "error": ""},
                {"utxo": {"txid": A, "vout": 0}, "spentIn": spend, "error": ""},
                {"utxo": {"txid": B, "vout": 0}, "error": "unknown"},
            ]
        ),
        Reply(b"", 404),
        Reply(b"", 400),
    )

    outcomes = client.find_spends([Outpoint(A, 0), Outpoint(A, 1), Outpoint(B, 0)])

    assert outcomes == {
        Outpoint(A, 0): Spend(C, 93, True),
        Outpoint(A, 1): UNSPENT,
        Outpoint(B, 0): OUTPUT_UNKNOWN,
    }
    assert [request.path for request in scripted.seen] == [
        "/utxos/spent",
        f"/tx/{A}/1/spent",
        f"/tx/{B}/0/spent",
    ]


def test_spends_are_found_even_without_the_bulk_form(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    scripted.prepare(Reply(b"", 404), Reply(b"", 404))

    assert client.find_spends([Outpoint(A, 0)]) == {Outpoint(A, 0): UNSPENT}


@pytest.mark.parametrize("body", [RAW_TX, f'"{RAW_TX}"\n', RAW_TX.upper()])
def test_a_raw_transaction_is_checked_by_its_hash(
    scripted: ScriptedServer, client: WhatsOnChainClient, body: str
) -> None:
    scripted.prepare(Reply(body.encode()))

    assert client.find_raw_transaction(TXID) == RAW_TX


@pytest.mark.parametrize(
    "reply",
    [Reply(RAW_TX[:-2].encode()), Reply(b""), Reply(WEB_PAGE), Reply(b"0"), Reply(b"", 400)],
)
def test_other_bytes_are_not_the_transaction(
    scripted: ScriptedServer, client: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(UnexpectedAnswerError):
        client.find_raw_transaction(TXID)


def test_an_unknown_transaction_has_no_bytes(
    scripted: ScriptedServer, client: WhatsOnChainClient
) -> None:
    scripted.prepare(Reply(b"", 404))

    assert client.find_raw_transaction(TXID) is None


@pytest.mark.parametrize(
    ("reply", "fee"),
    [
        (json_reply({"fee": 100, "fee_unit": "sat/KB", "mempool_min_fee": 1}), 100),
        (json_reply({"fee": 10**9}), None),
        (Reply(WEB_PAGE), None),
        (Reply(b"", 404), None),
        (Reply(b"", 503), None),
        (Reply(b"", 401), None),
    ],
)
def test_fee_advice_never_stands_in_the_way(
    scripted: ScriptedServer, client: WhatsOnChainClient, reply: Reply, fee: int | None
) -> None:
    scripted.prepare(reply)

    assert client.get_fee_recommendation() == fee


@pytest.mark.parametrize("body", [b"Whats On Chain", b'"Whats On Chain"\n'])
def test_a_greeting_is_life(
    scripted: ScriptedServer, client: WhatsOnChainClient, body: bytes
) -> None:
    scripted.prepare(Reply(body))

    client.ping()

    assert scripted.seen[0].path == "/woc"


@pytest.mark.parametrize(
    "reply",
    [Reply(WEB_PAGE), Reply(b"hello"), Reply(b"<html>Whats On Chain</html>"), Reply(b"", 503)],
)
def test_anything_else_is_not(
    scripted: ScriptedServer, client: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(ServiceUnavailableError):
        client.ping()
    assert len(scripted.seen) == 1
