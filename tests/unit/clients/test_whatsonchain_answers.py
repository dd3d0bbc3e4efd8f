"""WhatsOnChain's JSON: the documented shapes are read, everything else is refused."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clients import whatsonchain_answers as answers
from app.clients.chain_types import ChainInfo, ChainStatus, Spend, TscProof, UnspentOutput
from app.clients.outcomes import UnexpectedAnswerError

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32
ADDRESS = "1L2F8wGfyhyTPBzAbYJzRqDMDfUPxHGBgC"
REAL_TXID = "294cd1ebd5689fdee03509f92c32184c0f52f037d4046af250229b97e0c8f1aa"
GENESIS = {
    "hash": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "confirmations": 900000,
    "size": 285,
    "height": 0,
    "version": 1,
    "versionHex": "00000001",
    "merkleroot": "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
    "time": 1231006505,
    "mediantime": 1231006505,
    "nonce": 2083236893,
    "bits": "1d00ffff",
    "difficulty": 1,
    "chainwork": "0000000000000000000000000000000000000000000000000000000100010001",
    "nextblockhash": "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
    "nTx": 0,
    "num_tx": 1,
}
BLOCK_1 = {
    **GENESIS,
    "hash": "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
    "height": 1,
    "merkleroot": "0e3e2357e806b6cdb1f70b54c3a3a17b6714ee1f0e68bebb44a74b1efd512098",
    "time": 1231469665,
    "nonce": 2573394689,
    "previousblockhash": GENESIS["hash"],
}
UNCONFIRMED = {
    "tx_pos": 1,
    "tx_hash": A,
    "value": 98,
    "isSpentInMempoolTx": False,
    "hex": "76a914" + "11" * 20 + "88ac",
    "status": "unconfirmed",
}
CONFIRMED = {
    "height": 861936,
    "tx_pos": 0,
    "tx_hash": B,
    "value": 100,
    "isSpentInMempoolTx": True,
    "status": "confirmed",
}


def unspent(*entries: Any, **changes: Any) -> dict[str, Any]:
    return {"address": ADDRESS, "script": C, "result": list(entries), "error": "", **changes}


@pytest.mark.parametrize("text", [A, f'"{A}"', f' "{A.upper()}"\n', f"{A}\n"])
def test_a_txid_is_read_bare_and_in_quotes(text: str) -> None:
    assert answers.parse_txid_text(text) == A


@pytest.mark.parametrize("text", ["", '""', A[:-1], A + "0", "zz" * 32, f"'{A}'", f'""{A}""'])
def test_other_text_is_no_txid(text: str) -> None:
    assert answers.parse_txid_text(text) is None


def test_the_tip_is_blocks_even_when_headers_are_behind() -> None:
    value = {"chain": "main", "blocks": 635302, "headers": 635299, "bestblockhash": A}

    assert answers.parse_chain_info(value) == ChainInfo("main", 635302, A)


def test_statuses_are_mined_mempool_and_unknown() -> None:
    told = answers.parse_statuses(
        [
            {"txid": A, "blockhash": C, "blockheight": 5, "blocktime": 1, "confirmations": 7},
            {"txid": B},
            {"txid": C, "error": "unknown"},
        ]
    )

    assert told == {
        A: ChainStatus("mined", C, 5, 7),
        B: ChainStatus("mempool"),
        C: ChainStatus("unknown"),
    }


@pytest.mark.parametrize(
    "item",
    [
        {"txid": A, "error": "backend timed out"},
        {"txid": A, "blockhash": C, "blockheight": 5, "confirmations": 0},
        {"txid": A, "blockhash": C, "blockheight": 5, "confirmations": -1},
    ],
)
def test_m7_a_status_that_is_not_clear_is_left_out(item: dict[str, Any]) -> None:
    assert answers.parse_statuses([item]) == {}


@pytest.mark.parametrize(
    "value",
    [None, {}, [None], [{}], [{"txid": "ab"}], [{"txid": A, "blockhash": C}], "unknown"],
)
def test_odd_statuses_are_refused(value: Any) -> None:
    with pytest.raises(UnexpectedAnswerError):
        answers.parse_statuses(value)


PROOF = {"index": 3, "txOrId": REAL_TXID, "target": A, "nodes": [B, "*", C.upper()]}


@pytest.mark.parametrize("value", [PROOF, [PROOF]])
def test_a_proof_is_an_array_of_one_or_bare(value: Any) -> None:
    assert answers.parse_proof(value, REAL_TXID) == TscProof(REAL_TXID, 3, A, (B, "*", C))


@pytest.mark.parametrize("value", [None, []])
def test_an_unmined_transaction_has_no_proof(value: Any) -> None:
    assert answers.parse_proof(value, REAL_TXID) is None


def test_the_only_transaction_of_a_block_needs_no_siblings() -> None:
    proof = answers.parse_proof({**PROOF, "index": 0, "nodes": []}, REAL_TXID)

    assert proof == TscProof(REAL_TXID, 0, A, ())


@pytest.mark.parametrize(
    "change",
    [
        {"txOrId": A},
        {"index": -1},
        {"index": 8},
        {"index": True},
        {"index": "3"},
        {"target": "tip"},
        {"nodes": None},
        {"nodes": ["**"]},
        {"nodes": [B, None, C]},
    ],
)
def test_an_odd_proof_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswerError):
        answers.parse_proof({**PROOF, **change}, REAL_TXID)


@pytest.mark.parametrize("fields", [GENESIS, BLOCK_1])
def test_a_real_header_is_rebuilt_and_hashes_to_its_hash(fields: dict[str, Any]) -> None:
    found = answers.parse_header(fields)

    assert found.block_hash == fields["hash"] == found.header.block_hash
    assert found.height == fields["height"]
    assert len(found.header.to_bytes()) == 80


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 1},
        {"nonce": 2**32},
        {"version": 2**40},
        {"version": -(2**31)},
        {"time": -1},
        {"bits": 486604799},
        {"bits": "1d00fffff"},
        {"bits": "ff1d00ffff"},
        {"bits": "1d 00ffff"},
        {"hash": A},
        {"merkleroot": None},
        {"previousblockhash": "00"},
        {"height": "1"},
    ],
)
def test_a_header_that_is_not_what_it_says_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswerError):
        answers.parse_header({**BLOCK_1, **change})


def test_unspent_outputs_of_both_kinds_are_read() -> None:
    outputs, token = answers.parse_unspent_page(unspent(UNCONFIRMED, CONFIRMED), ADDRESS)

    script = bytes.fromhex("76a914" + "11" * 20 + "88ac")
    assert outputs == [
        UnspentOutput(A, 1, 98, None, False, script),
        UnspentOutput(B, 0, 100, 861936, True, None),
    ]
    assert token is None


@pytest.mark.parametrize("entries", [None, []])
@pytest.mark.parametrize("key", ["result", "unspent"])
def test_null_and_an_empty_list_are_empty(entries: Any, key: str) -> None:
    value = {"address": ADDRESS, key: entries, "error": ""}

    assert answers.parse_unspent_page(value, ADDRESS) == ([], None)


def test_older_entries_without_flag_and_status_are_read() -> None:
    old = {"height": 0, "tx_pos": 1, "tx_hash": A, "value": 1000}
    mined = {**old, "height": 9}

    outputs, _ = answers.parse_unspent_page(unspent(old, mined), ADDRESS)

    assert outputs == [
        UnspentOutput(A, 1, 1000, None, False),
        UnspentOutput(A, 1, 1000, 9, False),
    ]


@pytest.mark.parametrize(("token", "read"), [("abc", "abc"), ("", None), (None, None)])
def test_the_next_page_has_a_token(token: Any, read: str | None) -> None:
    assert answers.parse_unspent_page(unspent(nextPageToken=token), ADDRESS) == ([], read)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"address": ADDRESS, "error": ""},
        unspent(error="backend unavailable"),
        unspent(error={"code": 1}),
        unspent(address="1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
        unspent(address=None),
        unspent(result={}),
        unspent(nextPageToken=7),
        unspent(None),
    ],
)
def test_m7_an_odd_unspent_list_is_never_taken_for_an_empty_one(value: Any) -> None:
    with pytest.raises(UnexpectedAnswerError):
        answers.parse_unspent_page(value, ADDRESS)


@pytest.mark.parametrize(
    "change",
    [
        {"tx_hash": "ab"},
        {"tx_hash": None},
        {"tx_pos": -1},
        {"tx_pos": 2**32},
        {"value": "100"},
        {"value": 1.5},
        {"value": True},
        {"value": -1},
        {"value": 21_000_001 * 100_000_000},
        {"isSpentInMempoolTx": "false"},
        {"status": "orphaned"},
        {"height": None},
        {"height": -1},
        {"hex": "76a9zz"},
        {"hex": "76a"},
        {"hex": 5},
    ],
)
def test_m7_one_odd_entry_refuses_the_whole_list(change: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswerError):
        answers.parse_unspent_page(unspent(UNCONFIRMED, {**CONFIRMED, **change}), ADDRESS)


def test_an_output_listed_twice_is_folded_into_the_confirmed_one() -> None:
    mempool = UnspentOutput(A, 0, 5, None, True, b"\x51")
    block = UnspentOutput(A, 0, 5, 9, False, None)
    other = UnspentOutput(A, 1, 5, None, False, None)
    merged = UnspentOutput(A, 0, 5, 9, True, b"\x51")

    assert answers.fold_duplicates([mempool, other, block]) == [merged, other]
    assert answers.fold_duplicates([block, mempool, other]) == [merged, other]


def test_one_output_with_two_values_is_refused() -> None:
    with pytest.raises(UnexpectedAnswerError):
        answers.fold_duplicates(
            [UnspentOutput(A, 0, 5, 1, False), UnspentOutput(A, 0, 6, 1, False)]
        )


def test_bulk_spends_hold_only_what_is_certain() -> None:
    spend = {"txid": C, "vin": 93, "status": "confirmed"}
    value = [
        {"utxo": {"txid": A, "vout": 2}, "spentIn": spend, "error": ""},
        {"utxo": {"txid": A, "vout": 3}, "spentIn": None, "error": ""},
        {"utxo": {"txid": B, "vout": 3}, "error": "unknown"},
        {"utxo": {"txid": B, "vout": 4}, "spentIn": spend, "error": "unknown"},
    ]

    assert answers.parse_bulk_spends(value) == {(A, 2): Spend(C, 93, True)}


@pytest.mark.parametrize(
    "change", [{"status": "spent"}, {"status": None}, {"vin": -1}, {"vin": "0"}, {"txid": ""}]
)
def test_an_odd_spend_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswerError):
        answers.parse_spend({"txid": C, "vin": 0, "status": "unconfirmed", **change})


@pytest.mark.parametrize(
    ("value", "fee"),
    [
        ({"fee": 100, "fee_unit": "sat/KB"}, 100),
        ({"fee": 50.0, "fee_unit": "sat/kB"}, 50),
        ({"fee": 0.5}, 1),
        ({"fee": 100, "fee_unit": "sat/B"}, None),
        ({"fee": 100, "fee_unit": 5}, None),
        ({"fee": 100, "error": "busy"}, None),
        ({"fee": 0}, None),
        ({"fee": -5}, None),
        ({"fee": 10_001}, None),
        ({"fee": float("nan")}, None),
        ({"fee": float("inf")}, None),
        ({"fee": True}, None),
        ({"fee": "100"}, None),
        ([], None),
        (None, None),
    ],
)
def test_only_a_sane_fee_is_advice(value: Any, fee: int | None) -> None:
    assert answers.find_fee(value) == fee


MEMBER_NAMES = [
    "address",
    "result",
    "error",
    "txid",
    "blockhash",
    "confirmations",
    "utxo",
    "spentIn",
    "vin",
    "status",
    "index",
    "txOrId",
    "nodes",
    "target",
    "tx_hash",
    "tx_pos",
    "value",
    "height",
    "hex",
    "bits",
    "hash",
]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([A, B]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(MEMBER_NAMES), inner, max_size=8)
    ),
    max_leaves=12,
)
PARSERS: list[Callable[[Any], object]] = [
    answers.parse_chain_info,
    answers.parse_statuses,
    lambda value: answers.parse_proof(value, A),
    answers.parse_header,
    lambda value: answers.parse_unspent_page(value, ADDRESS),
    answers.parse_spend,
    answers.parse_bulk_spends,
    answers.find_fee,
]


@pytest.mark.parametrize("parse", PARSERS)
@given(value=ANY_JSON)
def test_no_json_brings_a_parser_to_any_other_error(
    parse: Callable[[Any], object], value: Any
) -> None:
    with contextlib.suppress(UnexpectedAnswerError):
        parse(value)
