"""WhatsOnChain's client against prepared answers: outputs and their spends."""

import itertools
from typing import Any

import pytest

from app.bitcoin.transactions import Outpoint
from app.clients.chain_types import OUTPUT_UNKNOWN, UNSPENT, Spend
from app.clients.outcomes import (
    ServiceUnavailableError,
    UnexpectedAnswerError,
)
from app.clients.whatsonchain import WhatsOnChainClient
from tests.integration.clients.scripted_server import (
    WEB_PAGE,
    Reply,
    ScriptedServer,
    json_reply,
)

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32
ADDRESS = "1L2F8wGfyhyTPBzAbYJzRqDMDfUPxHGBgC"


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
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    assert scripted_woc.list_unspent(ADDRESS) == []


def test_all_pages_are_read_with_the_token_as_it_came(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    scripted.prepare(
        page(confirmed(A, 0), token="a/b+c=&d"), page(confirmed(B, 1), token="2"), page()
    )

    outputs = scripted_woc.list_unspent(ADDRESS)

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
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, second: Reply
) -> None:
    scripted.prepare(page(confirmed(A, 0), token="2"), second)

    with pytest.raises(ServiceUnavailableError):
        scripted_woc.list_unspent(ADDRESS)


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
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(UnexpectedAnswerError):
        scripted_woc.list_unspent(ADDRESS)


def test_pages_that_go_in_a_circle_are_refused(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    scripted.prepare(page(confirmed(A, 0), token="1"))

    with pytest.raises(UnexpectedAnswerError, match="circle"):
        scripted_woc.list_unspent(ADDRESS)


def test_pages_without_end_are_refused(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    scripted.prepare(*(page(token=str(n)) for n in itertools.islice(itertools.count(), 9)))

    with pytest.raises(UnexpectedAnswerError, match="more than 5 pages"):
        scripted_woc.list_unspent(ADDRESS)


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
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, reply: Reply, outcome: Any
) -> None:
    scripted.prepare(reply)

    assert scripted_woc.find_spend(A, 2) == outcome
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
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(UnexpectedAnswerError):
        scripted_woc.find_spend(A, 2)


def test_m7_spends_that_the_bulk_form_leaves_open_are_asked_one_by_one(
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
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

    outcomes = scripted_woc.find_spends([Outpoint(A, 0), Outpoint(A, 1), Outpoint(B, 0)])

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
    scripted: ScriptedServer, scripted_woc: WhatsOnChainClient
) -> None:
    scripted.prepare(Reply(b"", 404), Reply(b"", 404))

    assert scripted_woc.find_spends([Outpoint(A, 0)]) == {Outpoint(A, 0): UNSPENT}
