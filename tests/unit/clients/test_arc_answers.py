"""ARC's answers: each row of its tables means one thing, and what is odd proves nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.merkle import MerklePath
from app.clients import arc_answers as answers
from app.clients.outcomes import BroadcastStatus, UnexpectedAnswerError
from app.clients.transport import HttpAnswer

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32
UNKNOWN, ACCEPTED = BroadcastStatus.UNKNOWN, BroadcastStatus.ACCEPTED
INVALID, CONFLICT = BroadcastStatus.INVALID, BroadcastStatus.CONFLICT
MISSING_INPUTS, FEE_TOO_LOW = BroadcastStatus.MISSING_INPUTS, BroadcastStatus.FEE_TOO_LOW


def success(name: str, extra: str = "", **changes: Any) -> dict[str, Any]:
    return {
        "blockHash": "",
        "blockHeight": 0,
        "competingTxs": None,
        "extraInfo": extra,
        "merklePath": "",
        "status": 200,
        "timestamp": "2023-03-09T12:03:48.382910514Z",
        "title": "OK",
        "txStatus": name,
        "txid": A,
        **changes,
    }


def problem(code: int, extra: str = "", txid: str | None = A) -> dict[str, Any]:
    return {
        "type": f"https://bitcoin-sv.github.io/arc/#/errors?id=_{code}",
        "title": "A title",
        "status": code,
        "detail": "A detail",
        "instance": None,
        "txid": txid,
        "extraInfo": extra,
    }


def reply(value: Any, status: int = 200, retry_after: float | None = None) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(value).encode(), retry_after)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("UNKNOWN", UNKNOWN),
        ("QUEUED", UNKNOWN),
        ("RECEIVED", UNKNOWN),
        ("STORED", UNKNOWN),
        ("ANNOUNCED_TO_NETWORK", UNKNOWN),
        ("REQUESTED_BY_NETWORK", UNKNOWN),
        ("SENT_TO_NETWORK", UNKNOWN),
        ("ACCEPTED_BY_NETWORK", ACCEPTED),
        ("SEEN_IN_ORPHAN_MEMPOOL", MISSING_INPUTS),
        ("SEEN_ON_NETWORK", ACCEPTED),
        ("DOUBLE_SPEND_ATTEMPTED", CONFLICT),
        ("REJECTED", UNKNOWN),
        ("MINED_IN_STALE_BLOCK", UNKNOWN),
        ("MINED", ACCEPTED),
        # Names of other builds and of other people's clients.
        ("SEEN_MULTIPLE_NODES", UNKNOWN),
        ("PENDING_RETRY", UNKNOWN),
        ("STUMP_PROCESSING", UNKNOWN),
        ("IMMUTABLE", UNKNOWN),
        ("ERROR", UNKNOWN),
        ("INVALID", UNKNOWN),
        ("MALFORMED", UNKNOWN),
        ("CONFIRMED", UNKNOWN),
        ("", UNKNOWN),
        ("mined", UNKNOWN),
    ],
)
@pytest.mark.parametrize("http_status", [200, 201, 202])
def test_m6_under_http_200_it_is_the_status_name_that_counts(
    name: str, status: BroadcastStatus, http_status: int
) -> None:
    outcome = answers.sort_answer(reply(success(name), http_status), A)

    assert (outcome.status, outcome.http_status) == (status, http_status)
    assert outcome.reason == name
    # A transaction in flight may be on the network: this service has not refused it.
    assert (outcome.was_refused, outcome.is_outage) == (False, False)


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ("invalid transaction: Missing inputs", MISSING_INPUTS),
        ("invalid transaction: 258: txn-mempool-conflict", CONFLICT),
        ("invalid transaction: txn-double-spend-detected", CONFLICT),
        ("invalid transaction: 66: mempool min fee not met", FEE_TOO_LOW),
        ("invalid transaction: 66: mempool full", UNKNOWN),
        ("invalid transaction: 257: txn-already-known", BroadcastStatus.ALREADY_KNOWN),
        ("invalid transaction: 16: mandatory-script-verify-flag-failed (of some kind)", INVALID),
        ("16: bad-txns-in-belowout", INVALID),
        ("double spend attempted", CONFLICT),
        ("discarded from mempool: mempool-sizelimit-exceeded", UNKNOWN),
        ("discarded from mempool: dust", UNKNOWN),
        ("invalid transaction: something nobody has met", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_m6_rejected_means_what_the_node_said(extra: str, status: BroadcastStatus) -> None:
    outcome = answers.sort_answer(reply(success("REJECTED", extra)), A)

    assert outcome.status is status
    assert extra in outcome.reason


# (code, meaning, whether no node was asked)
CODES = [
    (400, UNKNOWN, True),
    (401, UNKNOWN, True),
    (403, UNKNOWN, True),
    (404, UNKNOWN, True),
    (409, UNKNOWN, False),
    (422, INVALID, False),
    (429, UNKNOWN, True),
    (460, UNKNOWN, True),
    (461, INVALID, False),
    (462, MISSING_INPUTS, False),
    (463, INVALID, False),
    (464, INVALID, False),
    (465, FEE_TOO_LOW, False),
    (466, CONFLICT, False),
    (467, INVALID, False),
    (468, INVALID, False),
    (469, UNKNOWN, True),
    (470, UNKNOWN, False),
    (471, INVALID, False),
    (472, INVALID, False),
    (473, UNKNOWN, True),
    (474, INVALID, False),
    (475, INVALID, False),
    (476, UNKNOWN, True),
    (499, UNKNOWN, False),
    (500, UNKNOWN, False),
    (503, UNKNOWN, False),
]


@pytest.mark.parametrize(("code", "status", "was_refused"), CODES)
@pytest.mark.parametrize("txid", [A, None, ""])
def test_m6_a_problem_means_what_its_number_says(
    code: int, status: BroadcastStatus, was_refused: bool, txid: str | None
) -> None:
    outcome = answers.sort_answer(reply(problem(code, "the cause", txid), code, 7.0), A)

    assert (outcome.status, outcome.http_status) == (status, code)
    assert outcome.reason == f"{code} A title: the cause"
    assert outcome.retry_after_seconds == 7.0
    assert (outcome.was_refused, outcome.is_outage) == (was_refused, code >= 500)


@pytest.mark.parametrize(("code", "status", "was_refused"), CODES[:-2])
def test_the_successors_400_keeps_the_number_in_the_body(
    code: int, status: BroadcastStatus, was_refused: bool
) -> None:
    outcome = answers.sort_answer(reply(problem(code), 400), A)

    assert (outcome.status, outcome.http_status) == (status, code)
    assert outcome.reason == f"{code} A title: A detail"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("arc error 409: Missing inputs", MISSING_INPUTS),
        ("arc error 409: 258: txn-mempool-conflict", CONFLICT),
        ("arc error 409: context deadline exceeded", UNKNOWN),
    ],
)
def test_the_unclassified_error_may_carry_a_nodes_words(
    words: str, status: BroadcastStatus
) -> None:
    assert answers.sort_answer(reply(problem(409, words), 409), A).status is status


def test_m6_a_gateways_5xx_is_no_verdict_whatever_its_body_says() -> None:
    outcome = answers.sort_answer(reply(problem(461), 502), A)

    assert (outcome.status, outcome.http_status, outcome.is_outage) == (UNKNOWN, 502, True)


@pytest.mark.parametrize(
    "fields",
    [
        success("SEEN_ON_NETWORK", txid=B),
        success("SEEN_ON_NETWORK", txid=None),
        success("MINED", txid=A[:-1]),
        success("DOUBLE_SPEND_ATTEMPTED", txid=B),
        problem(461, txid=B),
        problem(465, txid="nonsense"),
    ],
)
def test_m6_an_answer_about_another_transaction_proves_nothing(fields: dict[str, Any]) -> None:
    http_status = fields["status"]

    outcome = answers.sort_answer(reply(fields, http_status), A)

    assert outcome.status is UNKNOWN
    assert "not about ours" in outcome.reason


def test_a_conflict_names_its_competitors_and_nothing_that_is_no_txid() -> None:
    fields = success("DOUBLE_SPEND_ATTEMPTED", competingTxs=[B.upper(), "short", None, 5, C])

    assert answers.sort_answer(reply(fields), A).competing_txids == (B, C)


@pytest.mark.parametrize(
    ("body", "http_status", "was_refused", "is_outage"),
    [
        (b"<html>", 200, False, True),
        (b"<html>", 404, True, True),
        (b"", 200, False, False),
        (b"null", 200, False, False),
        (b"[]", 200, False, False),
        (b'{"txStatus":', 200, False, False),
        (b"Too Many Requests", 429, True, False),
        (b'{"message":"bad header"}', 400, True, False),
        (b"Bad Gateway", 502, False, True),
        (b"[" * 100_000, 200, False, False),
    ],
)
def test_m6_what_is_no_answer_of_arc_is_unknown(
    body: bytes, http_status: int, was_refused: bool, is_outage: bool
) -> None:
    outcome = answers.sort_answer(HttpAnswer(http_status, body), A)

    assert (outcome.status, outcome.http_status) == (UNKNOWN, http_status)
    assert outcome.reason
    assert (outcome.was_refused, outcome.is_outage) == (was_refused, is_outage)


def test_a_batch_is_matched_by_txid_and_not_by_place() -> None:
    items = [success("SEEN_ON_NETWORK", txid=C), success("MINED", txid=A), problem(465, txid=B)]

    told = answers.sort_batch(reply(items))

    assert {txid: outcome.status for txid, outcome in told.items()} == {
        C: ACCEPTED,
        A: ACCEPTED,
        B: FEE_TOO_LOW,
    }
    assert told[B].http_status == 465
    assert answers.sort_batch(reply({"transactions": items})) == told


@pytest.mark.parametrize(
    "value", [None, [], {}, {"transactions": None}, [None, 1, [], {}], [problem(461, txid=None)]]
)
def test_a_batch_answer_without_items_says_nothing(value: Any) -> None:
    assert answers.sort_batch(reply(value)) == {}


def test_the_first_of_two_items_for_one_transaction_counts() -> None:
    told = answers.sort_batch(reply([success("SEEN_ON_NETWORK"), problem(461)]))

    assert told[A].status is ACCEPTED


@pytest.mark.parametrize("code", [400, 409, 461, 463, 465])
def test_m6_a_refusal_of_a_whole_batch_is_no_verdict_on_one_of_it(code: int) -> None:
    refusal = reply(problem(code, "invalid transaction: dust", txid=None), code)

    assert answers.sort_answer(refusal, A, must_name_it=True).status is UNKNOWN


@pytest.mark.parametrize(
    ("answer", "is_about"),
    [
        (reply(problem(400), 400), True),
        (reply(problem(463), 463), True),
        (HttpAnswer(413, b"too large"), True),
        (reply(problem(409), 409), False),
        (reply({}, 401), False),
        (reply({}, 403), False),
        (reply({}, 404), False),
        (reply({}, 429), False),
        (reply({}, 503), False),
        (HttpAnswer(400, b"<html>"), False),
        (reply([]), False),
    ],
)
def test_only_a_refusal_for_its_content_splits_a_batch(answer: HttpAnswer, is_about: bool) -> None:
    assert answers.is_about_the_batch(answer) is is_about


PATH = MerklePath.from_branch(7, A, 1, [B])
MINED = success(
    "MINED",
    "previously double spend attempted",
    blockHash=C,
    blockHeight=7,
    merklePath=PATH.to_hex(),
)


def test_a_mined_transaction_comes_with_its_merkle_path() -> None:
    found = answers.parse_transaction(MINED, A)

    assert found.is_mined
    assert (found.block_hash, found.block_height, found.merkle_path) == (C, 7, PATH)
    assert found.extra_info == "previously double spend attempted"


def test_a_mined_transaction_may_lack_its_path() -> None:
    for path in ("", None):
        assert answers.parse_transaction({**MINED, "merklePath": path}, A).merkle_path is None


def test_what_is_not_mined_has_no_block_whatever_is_written_there() -> None:
    value = {**MINED, "txStatus": "MINED_IN_STALE_BLOCK", "competingTxs": [B]}

    found = answers.parse_transaction(value, A)

    assert (found.is_mined, found.block_hash, found.merkle_path) == (False, None, None)
    assert found.competing_txids == (B,)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {**MINED, "txid": B},
        {**MINED, "txStatus": None},
        {**MINED, "txStatus": ""},
        {**MINED, "blockHash": ""},
        {**MINED, "blockHash": 5},
        {**MINED, "blockHeight": "7"},
        {**MINED, "blockHeight": True},
        {**MINED, "blockHeight": -1},
        {**MINED, "blockHeight": 8},
        {**MINED, "merklePath": "zz"},
        {**MINED, "merklePath": 5},
        {**MINED, "merklePath": PATH.to_hex()[:-2]},
        {**MINED, "merklePath": MerklePath.from_branch(7, C, 1, [B]).to_hex()},
    ],
)
def test_odd_statuses_are_refused(value: Any) -> None:
    with pytest.raises(UnexpectedAnswerError):
        answers.parse_transaction(value, A)


def policy(satoshis: Any, size: Any, **changes: Any) -> dict[str, Any]:
    fee = {"satoshis": satoshis, "bytes": size}
    return {"policy": {"miningFee": fee, "standardFormatSupported": True, **changes}}


@pytest.mark.parametrize(
    ("satoshis", "size", "satoshis_per_kilobyte"),
    [(1, 1000, 1), (100, 1000, 100), (5, 10_000, 1), (15, 10_000, 2), (3, 7, 429), (1, 1, 1000)],
)
def test_the_fee_is_per_its_own_number_of_bytes_rounded_up(
    satoshis: int, size: int, satoshis_per_kilobyte: int
) -> None:
    told = answers.parse_policy(policy(satoshis, size))

    assert told == answers.ArcPolicy(satoshis_per_kilobyte, True)


def test_the_standard_format_may_be_refused_by_policy() -> None:
    assert not answers.parse_policy(
        policy(1, 1000, standardFormatSupported=False)
    ).is_standard_format_supported
    assert answers.parse_policy(
        {"policy": {"miningFee": {"satoshis": 1, "bytes": 1000}}}
    ).is_standard_format_supported


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"policy": None},
        {"policy": {"miningFee": 5}},
        policy(0, 1000),
        policy(-1, 1000),
        policy(1, 0),
        policy("1", 1000),
        policy(True, 1000),
        policy(0.5, 1000),
        policy(10_001, 1000),
    ],
)
def test_odd_policies_are_refused(value: Any) -> None:
    with pytest.raises(UnexpectedAnswerError):
        answers.parse_policy(value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.dictionaries(
    st.sampled_from(["txid", "txStatus", "status", "extraInfo", "competingTxs", "title"]),
    JSON_VALUES | st.sampled_from([A, "MINED", "REJECTED", 461]),
)


@given(FIELDS | JSON_VALUES, st.sampled_from([200, 400, 409, 465, 500]))
def test_m6_only_our_txid_with_an_accepting_status_is_success(value: Any, status: int) -> None:
    outcome = answers.sort_answer(reply(value, status), A)

    answers.sort_batch(reply(value, status))
    if outcome.status is ACCEPTED:
        assert (value["txid"].lower(), value["txStatus"]) == (A, "MINED")
