"""WhatsOnChain's client against prepared answers: shapes and lies that the devnet lacks."""

from collections.abc import Callable
from typing import Any

import pytest

from app.clients.chain_types import ChainStatus, TscProof
from app.clients.outcomes import (
    AuthenticationRefusedError,
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


def test_a_refused_key_is_told_apart(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    scripted.prepare(Reply(b"unauthorized", 401))

    with pytest.raises(AuthenticationRefusedError):
        scripted_woc.get_chain_info()


def test_statuses_are_asked_in_chunks_and_matched_by_txid(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    txids = [f"{n:064x}" for n in range(45)]
    chunks = [txids[0:20], txids[20:40], txids[40:45]]
    scripted.prepare(
        *(json_reply([{"txid": txid} for txid in reversed(chunk)]) for chunk in chunks)
    )

    statuses = scripted_woc.list_transaction_statuses([*txids, txids[0]])

    assert statuses == {txid: ChainStatus("mempool") for txid in txids}
    assert [request.json["txids"] for request in scripted.seen] == chunks


def test_m7_a_status_that_nobody_told_is_missing_not_unknown(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    scripted.prepare(json_reply([{"txid": C}, {"txid": A, "error": "unknown"}]))

    assert scripted_woc.list_transaction_statuses([A, B]) == {A: ChainStatus("unknown")}


def test_no_txids_need_no_call(scripted: ScriptedServer, scripted_woc: WhatsOnChainClient) -> None:
    assert scripted_woc.list_transaction_statuses([]) == {}
    assert scripted_woc.find_spends([]) == {}
    assert scripted.seen == []


@pytest.mark.parametrize(
    "reply", [json_reply(None), json_reply([]), Reply(b"", 404), Reply(b"not found", 404)]
)
def test_a_transaction_without_a_proof_has_none(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    assert scripted_woc.find_proof(A) is None


@pytest.mark.parametrize("wrap", [lambda proof: proof, lambda proof: [proof]])
def test_a_proof_comes_bare_or_in_an_array(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, wrap: Callable[[Any], Any]
) -> None:
    scripted.prepare(json_reply(wrap({"index": 1, "txOrId": A, "target": B, "nodes": [C, "*"]})))

    assert scripted_woc.find_proof(A) == TscProof(A, 1, B, (C, "*"))


@pytest.mark.parametrize("asked", [0, HEADER["hash"]])
def test_a_header_is_found_by_height_and_by_hash(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, asked: str | int
) -> None:
    scripted.prepare(json_reply(HEADER))

    assert scripted_woc.get_header(asked).header.block_hash == HEADER["hash"]


@pytest.mark.parametrize("asked", [1, A])
def test_a_header_of_another_block_is_refused(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, asked: str | int
) -> None:
    scripted.prepare(json_reply(HEADER))

    with pytest.raises(UnexpectedAnswerError):
        scripted_woc.get_header(asked)


def test_a_block_above_the_tip_is_unknown(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    scripted.prepare(Reply(b"", 404))

    with pytest.raises(UnknownBlockError):
        scripted_woc.get_header(10**6)


@pytest.mark.parametrize("chain", ["test", "regtest", "stn", "", None])
def test_a_service_on_another_network_is_refused(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, chain: str | None
) -> None:
    scripted.prepare(json_reply({**INFO, "chain": chain}))

    with pytest.raises(UnexpectedAnswerError):
        scripted_woc.get_chain_info()


@pytest.mark.parametrize("body", [RAW_TX, f'"{RAW_TX}"\n', RAW_TX.upper()])
def test_a_raw_transaction_is_checked_by_its_hash(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, body: str
) -> None:
    scripted.prepare(Reply(body.encode()))

    assert scripted_woc.find_raw_transaction(TXID) == RAW_TX


@pytest.mark.parametrize(
    "reply",
    [Reply(RAW_TX[:-2].encode()), Reply(b""), Reply(WEB_PAGE), Reply(b"0"), Reply(b"", 400)],
)
def test_other_bytes_are_not_the_transaction(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(UnexpectedAnswerError):
        scripted_woc.find_raw_transaction(TXID)


def test_an_unknown_transaction_has_no_bytes(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    scripted.prepare(Reply(b"", 404))

    assert scripted_woc.find_raw_transaction(TXID) is None


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
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, reply: Reply, fee: int | None
) -> None:
    scripted.prepare(reply)

    assert scripted_woc.get_fee_recommendation() == fee


@pytest.mark.parametrize("body", [b"Whats On Chain", b'"Whats On Chain"\n'])
def test_a_greeting_is_life(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, body: bytes
) -> None:
    scripted.prepare(Reply(body))

    scripted_woc.ping()

    assert scripted.seen[0].path == "/woc"


@pytest.mark.parametrize(
    "reply",
    [Reply(WEB_PAGE), Reply(b"hello"), Reply(b"<html>Whats On Chain</html>"), Reply(b"", 503)],
)
def test_anything_else_is_not(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(ServiceUnavailableError):
        scripted_woc.ping()
    assert len(scripted.seen) == 1
