"""ARC's client against prepared answers: what goes out, and what a batch may get back."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.clients.arc import ArcClient
from app.clients.broadcasting import RawTransaction
from app.clients.outcomes import (
    AuthenticationRefusedError,
    BroadcastStatus,
    ServiceUnavailableError,
    UnexpectedAnswerError,
)
from tests.integration.clients.scripted_server import (
    WEB_PAGE,
    Reply,
    ScriptedServer,
    json_reply,
)

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32
KEY = "mainnet_0123456789abcdef0123456789abcdef"
UNKNOWN, ACCEPTED = BroadcastStatus.UNKNOWN, BroadcastStatus.ACCEPTED
PLAIN = RawTransaction(A, "0100")
EXTENDED = RawTransaction(B, "0100", "010000000000000000ef")
THREE = [RawTransaction(txid, "0100") for txid in (A, B, C)]


def seen(txid: str, name: str = "SEEN_ON_NETWORK") -> dict[str, Any]:
    return {"status": 200, "title": "OK", "txStatus": name, "txid": txid, "extraInfo": ""}


def problem(code: int, txid: str | None = None, extra: str = "") -> dict[str, Any]:
    return {"status": code, "title": "No", "detail": "", "txid": txid, "extraInfo": extra}


@pytest.fixture
def arc(scripted: ScriptedServer, sleep: Callable[[float], None]) -> Iterator[ArcClient]:
    """Yield a client of the scripted server that never really sleeps."""
    made = ArcClient(
        scripted.url + "/", api_key=KEY, timeout_seconds=6.0, sleep=sleep, random_unit=lambda: 0.0
    )
    yield made
    made.close()


def test_one_goes_to_tx_in_the_extended_format_where_there_is_one(
    scripted: ScriptedServer, arc: ArcClient
) -> None:
    scripted.prepare(json_reply(seen(A)), json_reply(seen(B)))

    assert arc.broadcast(PLAIN).status is ACCEPTED
    assert arc.broadcast_many([EXTENDED])[B].status is ACCEPTED

    assert [request.path for request in scripted.seen] == ["/v1/tx", "/v1/tx"]
    assert [request.json for request in scripted.seen] == [
        {"rawTx": "0100"},
        {"rawTx": EXTENDED.extended_hex},
    ]


def test_the_headers_make_arc_answer_before_we_stop_listening(
    scripted: ScriptedServer, arc: ArcClient
) -> None:
    scripted.prepare(json_reply(seen(A)))
    arc.broadcast(PLAIN)

    headers = scripted.seen[0].headers
    assert headers["X-WaitFor"] == "SEEN_ON_NETWORK"
    assert headers["X-MaxTimeout"] == "2"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(("timeout_seconds", "wait"), [(3.0, "1"), (15.0, "5"), (120.0, "5")])
def test_the_wait_is_a_third_of_the_timeout_and_at_most_five_seconds(
    scripted: ScriptedServer, timeout_seconds: float, wait: str
) -> None:
    scripted.prepare(json_reply(seen(A)))
    client = ArcClient(scripted.url, timeout_seconds=timeout_seconds)
    client.broadcast(PLAIN)
    client.close()

    assert scripted.seen[0].headers["X-MaxTimeout"] == wait
    assert "Authorization" not in scripted.seen[0].headers
    with pytest.raises(ValueError, match="3 seconds"):
        ArcClient(scripted.url, timeout_seconds=2.9)


@pytest.mark.parametrize(
    ("reply", "is_outage", "was_refused"),
    [
        (Reply(is_cut=True), True, False),
        (Reply(b'{"txid', missing_bytes=5), True, False),
        (Reply(WEB_PAGE), True, False),
        (Reply(WEB_PAGE, 502), True, False),
        (Reply(b"", 503, {"Retry-After": "9"}), True, False),
        (Reply(b"slow down", 429), False, True),
        (Reply(b"", 401), False, True),
        (Reply(b"{}"), False, False),
        (json_reply(seen(B)), False, False),
        (json_reply(problem(409), 409), False, False),
        (json_reply(problem(460), 460), False, True),
    ],
)
def test_m6_what_proves_nothing_is_unknown_and_sent_once(
    scripted: ScriptedServer,
    arc: ArcClient,
    pauses: list[float],
    reply: Reply,
    is_outage: bool,
    was_refused: bool,
) -> None:
    scripted.prepare(reply)

    outcome = arc.broadcast(PLAIN)

    assert outcome.status is UNKNOWN
    assert (outcome.is_outage, outcome.was_refused) == (is_outage, was_refused)
    assert outcome.reason
    assert outcome.retry_after_seconds == (9.0 if reply.headers else None)
    assert (len(scripted.seen), pauses) == (1, [])


def test_m6_one_that_a_batch_answer_leaves_out_is_unknown(
    scripted: ScriptedServer, arc: ArcClient
) -> None:
    scripted.prepare(json_reply([seen(C), problem(465, A, "arc error 465: fee is too low")]))

    outcomes = arc.broadcast_many(THREE)

    assert {txid: outcome.status for txid, outcome in outcomes.items()} == {
        A: BroadcastStatus.FEE_TOO_LOW,
        B: UNKNOWN,
        C: ACCEPTED,
    }
    assert "does not name it" in outcomes[B].reason
    assert [request.path for request in scripted.seen] == ["/v1/txs"]
    assert scripted.seen[0].json == [{"rawTx": "0100"}] * 3
    assert scripted.seen[0].headers["X-WaitFor"] == "SEEN_ON_NETWORK"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(is_cut=True),
        Reply(WEB_PAGE, 502),
        Reply(b"[]"),
        Reply(b"null"),
        Reply(b"", 429),
        json_reply(problem(409, None, "invalid transaction: dust"), 409),
        json_reply([problem(461)]),
        json_reply(problem(500), 500),
    ],
)
def test_m6_a_batch_without_items_is_unknown_for_each_and_sent_once(
    scripted: ScriptedServer, arc: ArcClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    outcomes = arc.broadcast_many(THREE)

    assert list(outcomes) == [A, B, C]
    assert {outcome.status for outcome in outcomes.values()} == {UNKNOWN}
    assert len(scripted.seen) == 1


def test_one_unreadable_transaction_does_not_keep_the_others(
    scripted: ScriptedServer, arc: ArcClient
) -> None:
    refusal = json_reply(problem(400, None, "error parsing transactions from request"), 400)
    scripted.prepare(refusal, json_reply(seen(A)), refusal, json_reply(seen(C)))

    outcomes = arc.broadcast_many(THREE)

    assert [outcome.status for outcome in outcomes.values()] == [ACCEPTED, UNKNOWN, ACCEPTED]
    assert outcomes[B].was_refused
    paths = [request.path for request in scripted.seen]
    assert paths == ["/v1/txs", "/v1/tx", "/v1/tx", "/v1/tx"]


def test_a_service_that_goes_silent_meanwhile_is_not_asked_for_the_rest(
    scripted: ScriptedServer, arc: ArcClient
) -> None:
    scripted.prepare(
        json_reply(problem(400), 400), json_reply(seen(A)), Reply(b"", 503), json_reply(seen(C))
    )

    outcomes = arc.broadcast_many(THREE)

    assert [outcome.status for outcome in outcomes.values()] == [ACCEPTED, UNKNOWN, UNKNOWN]
    assert len(scripted.seen) == 3


def test_every_answer_leaves_a_line_and_none_holds_the_key(
    scripted: ScriptedServer, arc: ArcClient, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.prepare(json_reply([seen(A), problem(461, B, "script failed")]), json_reply(seen(C)))

    with caplog.at_level(logging.INFO):
        arc.broadcast_many(THREE)
        arc.broadcast(THREE[2])

    lines = [vars(record) for record in caplog.records]
    assert [(line["event"], line["service"], line["txid"], line["status"]) for line in lines] == [
        ("broadcast_answered", "arc", A, "accepted"),
        ("broadcast_answered", "arc", B, "invalid"),
        ("broadcast_answered", "arc", C, "unknown"),
        ("broadcast_answered", "arc", C, "accepted"),
    ]
    assert lines[0]["reason"] == "SEEN_ON_NETWORK"
    assert KEY not in str(lines)


def test_a_lookup_is_tried_again_and_404_is_none(
    scripted: ScriptedServer, arc: ArcClient, pauses: list[float]
) -> None:
    scripted.prepare(Reply(b"", 502), json_reply(problem(404), 404))

    assert arc.find_transaction(A) is None
    assert ([request.path for request in scripted.seen], len(pauses)) == ([f"/v1/tx/{A}"] * 2, 1)


@pytest.mark.parametrize(
    "reply",
    [Reply(WEB_PAGE, 404), Reply(WEB_PAGE), json_reply(problem(409), 409), json_reply(seen(B))],
)
def test_a_lookup_with_an_odd_answer_raises(
    scripted: ScriptedServer, arc: ArcClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(UnexpectedAnswerError):
        arc.find_transaction(A)


def test_a_refused_key_is_told_apart(scripted: ScriptedServer, arc: ArcClient) -> None:
    scripted.prepare(Reply(b"", 401))

    with pytest.raises(AuthenticationRefusedError):
        arc.get_policy()
    assert arc.get_fee_recommendation() is None


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (json_reply({"healthy": False, "version": "1", "reason": "no node"}), "no node"),
        (json_reply({"healthy": "yes"}), "odd"),
        (json_reply([]), "odd"),
        (Reply(WEB_PAGE), "not JSON"),
        (Reply(b"", 500), "500"),
    ],
)
def test_health_is_what_the_body_says(
    scripted: ScriptedServer, arc: ArcClient, reply: Reply, error: str
) -> None:
    scripted.prepare(reply)

    with pytest.raises(ServiceUnavailableError, match=error):
        arc.ping()


@pytest.mark.parametrize("reply", [Reply(WEB_PAGE), Reply(b"", 500), json_reply({"policy": {}})])
def test_without_a_sane_policy_there_is_no_advice(
    scripted: ScriptedServer, arc: ArcClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    assert arc.get_fee_recommendation() is None
