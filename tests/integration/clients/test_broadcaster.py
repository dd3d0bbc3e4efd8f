"""Several services behind one broadcaster: who is asked, when, and what counts."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from app.bitcoin.transactions import Outpoint
from app.clients.arc import ArcClient
from app.clients.broadcasting import Broadcaster, BroadcastService, RawTransaction
from app.clients.circuit import Circuit
from app.clients.outcomes import BroadcastStatus
from app.clients.pacing import SharedPacer
from app.clients.transport import NotSentError
from app.clients.whatsonchain import WhatsOnChainClient
from devnet.supervisor import Devnet
from tests.integration.clients.conftest import ChainControl, make_redis_client
from tests.integration.clients.scripted_server import Reply, ScriptedServer, json_reply
from tests.integration.clients.wallet import Wallet, raw

UNKNOWN, ACCEPTED = BroadcastStatus.UNKNOWN, BroadcastStatus.ACCEPTED
NOBODY = "http://127.0.0.1:1"
NOW = 1_700_000_000.0


class Clock:
    """Unix seconds, which the test moves."""

    seconds = NOW

    def __call__(self) -> float:
        return self.seconds


class Workshop:
    """Makes clients and broadcasters, and closes them at the end."""

    def __init__(self, client: redis.Redis, sleep: Callable[[float], None]) -> None:
        self.redis = client
        self.clock = Clock()
        self.sleep = sleep
        self.open_clients = ExitStack()

    def arc(self, url: str) -> ArcClient:
        client = ArcClient(url, timeout_seconds=10.0, sleep=self.sleep)
        self.open_clients.callback(client.close)
        return client

    def woc(self, url: str, **changes: object) -> WhatsOnChainClient:
        client = WhatsOnChainClient(
            url,
            network_name="regtest",
            timeout_seconds=10.0,
            sleep=self.sleep,
            **changes,  # type: ignore[arg-type]
        )
        self.open_clients.callback(client.close)
        return client

    def close(self) -> None:
        self.open_clients.close()
        self.redis.close()

    def broadcaster(self, *services: BroadcastService, failures: int = 3) -> Broadcaster:
        circuits = {
            each.name: Circuit(
                each.name, self.redis, failures=failures, open_seconds=30.0, now=self.clock
            )
            for each in services
        }
        return Broadcaster(services, circuits)


@pytest.fixture
def workshop(redis_client: redis.Redis, sleep: Callable[[float], None]) -> Iterator[Workshop]:
    """Yield a workshop on an empty Redis."""
    made = Workshop(redis_client, sleep)
    yield made
    made.close()


@pytest.fixture
def second() -> Iterator[ScriptedServer]:
    """Yield another server that answers what the test prepares."""
    server = ScriptedServer()
    yield server
    server.close()


def arc_says(txid: str, name: str) -> Reply:
    return json_reply({"status": 200, "txStatus": name, "txid": txid, "extraInfo": ""})


def arc_refuses(code: int) -> Reply:
    return json_reply({"status": code, "title": "No", "extraInfo": "", "txid": None}, code)


A = RawTransaction("aa" * 32, "00")


def test_the_second_accepts_what_the_first_is_down_for(
    workshop: Workshop, chain: ChainControl, wallet: Wallet, caplog: pytest.LogCaptureFixture
) -> None:
    broadcaster = workshop.broadcaster(workshop.arc(NOBODY), workshop.woc(chain.woc_url))
    transaction = raw(wallet.spend(wallet.fund()))

    with caplog.at_level(logging.INFO):
        outcome = broadcaster.broadcast([transaction])[transaction.txid]

    assert (outcome.status, outcome.service) == (ACCEPTED, "whatsonchain")
    answers = [vars(r) for r in caplog.records if vars(r).get("event") == "broadcast_answered"]
    assert [(line["service"], line["status"]) for line in answers] == [
        ("arc", "unknown"),
        ("whatsonchain", "accepted"),
    ]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429},
        {"kind": "garbage"},
        {"kind": "cut_before"},
        {"kind": "cut_after"},
    ],
)
@pytest.mark.parametrize("is_arc_first", [True, False])
def test_m6_whatever_ails_the_first_the_second_takes_the_same_bytes(
    workshop: Workshop,
    chain: ChainControl,
    wallet: Wallet,
    fault: dict[str, object],
    is_arc_first: bool,
) -> None:
    arc, woc = workshop.arc(chain.arc_url), workshop.woc(chain.woc_url)
    services = (arc, woc) if is_arc_first else (woc, arc)
    path = "/arc/v1/tx" if is_arc_first else "/tx/raw"
    transactions = [raw(wallet.spend([coin])) for coin in wallet.fund(outputs=2)]
    before = chain.get("stats")["accepted"]
    chain.set_faults({"path": path, **fault})

    outcomes = workshop.broadcaster(*services).broadcast(transactions)

    assert [outcome.is_success for outcome in outcomes.values()] == [True, True]
    assert chain.get("stats")["accepted"] - before == 2


def test_only_what_the_first_left_open_goes_to_the_second(
    workshop: Workshop, scripted: ScriptedServer, chain: ChainControl, wallet: Wallet
) -> None:
    transactions = [raw(wallet.spend([coin])) for coin in wallet.fund(outputs=4)]
    done, wrong, open_one, flying = (each.txid for each in transactions)
    scripted.prepare(
        json_reply(
            [
                {"status": 200, "txStatus": "SEEN_ON_NETWORK", "txid": done},
                {"status": 200, "txStatus": "SENT_TO_NETWORK", "txid": flying},
                {"status": 461, "title": "Malformed", "txid": wrong},
            ]
        )
    )
    before = chain.get("stats")["accepted"]

    outcomes = workshop.broadcaster(
        workshop.arc(scripted.url), workshop.woc(chain.woc_url)
    ).broadcast(transactions)

    assert [(outcomes[txid].status, outcomes[txid].service) for txid in (done, wrong)] == [
        (ACCEPTED, "arc"),
        (BroadcastStatus.INVALID, "arc"),
    ]
    assert {outcomes[txid].service for txid in (open_one, flying)} == {"whatsonchain"}
    assert chain.get("stats")["accepted"] - before == 2
    assert len(scripted.seen) == 1


def test_fifty_go_to_arc_in_one_call_and_nothing_to_the_second(
    workshop: Workshop, chain: ChainControl, wallet: Wallet, second: ScriptedServer
) -> None:
    second.prepare(Reply(b"", 500))
    transactions = [raw(wallet.spend([coin])) for coin in wallet.fund(outputs=50)]

    outcomes = workshop.broadcaster(
        workshop.arc(chain.arc_url), workshop.woc(second.url)
    ).broadcast(transactions)

    assert {outcome.status for outcome in outcomes.values()} == {ACCEPTED}
    assert len(outcomes) == 50
    assert second.seen == []


@pytest.mark.parametrize("is_arc", [True, False])
def test_parents_go_before_their_children_whatever_their_order(
    workshop: Workshop, chain: ChainControl, wallet: Wallet, is_arc: bool
) -> None:
    line = [wallet.spend(wallet.fund())]
    while len(line) < 5:
        parent = line[-1]
        line.append(wallet.spend([Outpoint(parent.txid, 0)], satoshis=parent.outputs[0].satoshis))
    service = workshop.arc(chain.arc_url) if is_arc else workshop.woc(chain.woc_url)

    outcomes = workshop.broadcaster(service).broadcast(
        raw(each, is_extended=False) for each in reversed(line)
    )

    assert {outcome.status for outcome in outcomes.values()} == {ACCEPTED}


def test_after_failures_in_a_row_the_first_is_left_alone_and_then_tried_once(
    workshop: Workshop, scripted: ScriptedServer, chain: ChainControl, wallet: Wallet
) -> None:
    broadcaster = workshop.broadcaster(
        workshop.arc(scripted.url), workshop.woc(chain.woc_url), failures=3
    )
    transactions = [raw(wallet.spend([coin])) for coin in wallet.fund(outputs=7)]
    scripted.prepare(Reply(is_cut=True))
    asked: list[int] = []
    for transaction in transactions:
        if len(asked) == 5:
            workshop.clock.seconds += 30.0
            scripted.prepare(arc_says(transaction.txid, "SEEN_ON_NETWORK"))
        outcome = broadcaster.broadcast([transaction])[transaction.txid]
        assert outcome.status is ACCEPTED
        asked.append(len(scripted.seen))
        if len(asked) == 4:
            state = broadcaster.circuit_states()["arc"]
            assert (state.position, state.reason) == ("open", "no answer (ProtocolError)")

    assert asked == [1, 2, 3, 3, 3, 4, 5]
    states = broadcaster.circuit_states()
    assert [(name, state.position) for name, state in states.items()] == [
        ("arc", "closed"),
        ("whatsonchain", "closed"),
    ]


def test_one_by_one_the_rest_is_not_sent_to_a_service_that_has_failed_enough(
    workshop: Workshop, scripted: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.prepare(Reply(b"", 502))
    transactions = [RawTransaction(f"{number:064x}", "00") for number in range(10)]

    with caplog.at_level(logging.WARNING):
        outcomes = workshop.broadcaster(workshop.woc(scripted.url)).broadcast(transactions)

    assert len(scripted.seen) == 3
    assert {outcome.status for outcome in outcomes.values()} == {UNKNOWN}
    left = [each for each in outcomes.values() if each.was_refused]
    assert len(left) == 7
    assert "answered 502" in left[0].reason
    lines = [vars(record) for record in caplog.records]
    assert [line["event"] for line in lines] == ["circuit_opened", "broadcaster_skipped"]
    assert lines[1]["count"] == 7


@pytest.mark.parametrize(
    "reply",
    [*map(arc_refuses, (400, 401, 403, 409, 429, 460, 461, 465, 469)), arc_says("bb" * 32, "X")],
)
def test_a_service_that_answers_is_never_left_alone(
    workshop: Workshop, scripted: ScriptedServer, reply: Reply
) -> None:
    scripted.prepare(reply)
    broadcaster = workshop.broadcaster(workshop.arc(scripted.url))

    for _ in range(6):
        broadcaster.broadcast([A])

    assert len(scripted.seen) == 6
    assert broadcaster.circuit_states()["arc"].position == "closed"


def test_our_own_pace_says_nothing_about_the_service(
    workshop: Workshop, scripted: ScriptedServer
) -> None:
    broadcaster = workshop.broadcaster(workshop.woc(scripted.url, pacer=FullPacer()), failures=1)

    outcome = broadcaster.broadcast([A])[A.txid]

    assert (outcome.status, outcome.retry_after_seconds) == (UNKNOWN, 45.0)
    assert broadcaster.circuit_states()["whatsonchain"].position == "closed"
    assert scripted.seen == []


class FullPacer:
    """Has no place left for anybody."""

    def wait(self, budget_seconds: float, *, is_urgent: bool = False) -> None:
        raise NotSentError(45.0)

    def hold(self, seconds: float) -> None:
        raise AssertionError("nothing was sent that could have been too much")


@pytest.mark.parametrize("code", [461, 462, 465, 466])
def test_a_clear_answer_of_the_first_is_the_answer(
    workshop: Workshop, scripted: ScriptedServer, second: ScriptedServer, code: int
) -> None:
    scripted.prepare(arc_refuses(code))
    second.prepare(Reply(A.txid.encode()))

    outcome = workshop.broadcaster(workshop.arc(scripted.url), workshop.woc(second.url)).broadcast(
        [A]
    )[A.txid]

    assert (outcome.http_status, outcome.service) == (code, "arc")
    assert second.seen == []


@pytest.mark.parametrize(
    ("first", "words", "status"),
    [
        # The first may have sent it on: a second node's policy must not free its inputs.
        (Reply(is_cut=True), "66: mempool min fee not met", UNKNOWN),
        (Reply(b"", 503), "64: dust", UNKNOWN),
        (arc_says(A.txid, "SENT_TO_NETWORK"), "66: mempool min fee not met", UNKNOWN),
        # The first has not looked at it.
        (arc_refuses(429), "66: mempool min fee not met", BroadcastStatus.FEE_TOO_LOW),
        (arc_refuses(401), "64: dust", BroadcastStatus.INVALID),
        (arc_refuses(460), "TX decode failed", BroadcastStatus.INVALID),
        # Claims are looked into anyway.
        (Reply(is_cut=True), "Missing inputs", BroadcastStatus.MISSING_INPUTS),
        (Reply(is_cut=True), "258: txn-mempool-conflict", BroadcastStatus.CONFLICT),
        (Reply(is_cut=True), "257: txn-already-known", BroadcastStatus.ALREADY_KNOWN),
    ],
)
def test_m6_the_second_verdict_counts_as_far_as_the_first_allows(
    workshop: Workshop,
    scripted: ScriptedServer,
    second: ScriptedServer,
    first: Reply,
    words: str,
    status: BroadcastStatus,
) -> None:
    scripted.prepare(first)
    second.prepare(Reply(words.encode(), 400))

    outcome = workshop.broadcaster(workshop.arc(scripted.url), workshop.woc(second.url)).broadcast(
        [A]
    )[A.txid]

    assert outcome.status is status
    assert words in outcome.reason
    assert (len(scripted.seen), len(second.seen)) == (1, 1)


def test_m6_once_the_first_is_left_alone_the_second_verdict_counts_alone(
    workshop: Workshop, scripted: ScriptedServer, second: ScriptedServer
) -> None:
    scripted.prepare(Reply(is_cut=True))
    second.prepare(Reply(b"66: mempool min fee not met", 400))
    broadcaster = workshop.broadcaster(
        workshop.arc(scripted.url), workshop.woc(second.url), failures=2
    )

    statuses = [broadcaster.broadcast([A])[A.txid].status for _ in range(3)]

    assert statuses == [UNKNOWN, UNKNOWN, BroadcastStatus.FEE_TOO_LOW]


def test_when_nobody_knows_all_reasons_are_told_and_the_nearest_wish_counts(
    workshop: Workshop, scripted: ScriptedServer, second: ScriptedServer
) -> None:
    scripted.prepare(Reply(b"{}", 429, {"Retry-After": "60"}))
    second.prepare(Reply(b"slow down", 429, {"Retry-After": "7"}), Reply(b"oh", 400))
    broadcaster = workshop.broadcaster(workshop.arc(scripted.url), workshop.woc(second.url))

    wishing, open_one = (broadcaster.broadcast([A])[A.txid] for _ in range(2))

    assert wishing.status is open_one.status is UNKNOWN
    assert (wishing.retry_after_seconds, open_one.retry_after_seconds) == (7.0, None)
    assert (wishing.was_refused, open_one.was_refused) == (True, False)
    assert "arc: 429" in wishing.reason
    assert "whatsonchain: slow down" in wishing.reason


def test_nothing_is_asked_for_nothing(workshop: Workshop, scripted: ScriptedServer) -> None:
    assert workshop.broadcaster(workshop.arc(scripted.url)).broadcast([]) == {}
    assert scripted.seen == []


def test_the_fee_is_of_the_first_that_names_one(
    workshop: Workshop, scripted: ScriptedServer, second: ScriptedServer
) -> None:
    fee = {"policy": {"miningFee": {"satoshis": 5, "bytes": 10}}}
    advice = json_reply({"fee": 77, "fee_unit": "sat/KB"})
    broadcaster = workshop.broadcaster(workshop.arc(scripted.url), workshop.woc(second.url))

    scripted.prepare(json_reply(fee))
    assert broadcaster.fee_policy() == 500
    scripted.prepare(Reply(b"nonsense"))
    second.prepare(advice)
    assert broadcaster.fee_policy() == 77
    second.prepare(Reply(b"", 404))
    assert broadcaster.fee_policy() is None


def test_the_fee_is_not_asked_of_a_service_that_is_left_alone(
    workshop: Workshop, scripted: ScriptedServer
) -> None:
    scripted.prepare(Reply(b"", 500))
    broadcaster = workshop.broadcaster(workshop.arc(scripted.url), failures=1)
    broadcaster.broadcast([A])

    assert broadcaster.fee_policy() is None
    assert [request.path for request in scripted.seen] == ["/v1/tx"]


def test_without_redis_transactions_still_go_out(
    mortal: Devnet, sleep: Callable[[float], None], chain: ChainControl, wallet: Wallet
) -> None:
    workshop = Workshop(make_redis_client(mortal), sleep)
    pacer = SharedPacer("test", 1000.0, workshop.redis, sleep=sleep)
    broadcaster = workshop.broadcaster(
        workshop.arc(NOBODY), workshop.woc(chain.woc_url, pacer=pacer), failures=2
    )
    transactions = [raw(wallet.spend([coin])) for coin in wallet.fund(outputs=5)]
    mortal.kill("redis")

    outcomes = [broadcaster.broadcast([each])[each.txid] for each in transactions]

    assert {outcome.status for outcome in outcomes} == {ACCEPTED}
    assert broadcaster.circuit_states()["arc"].position == "open"
    workshop.close()
