"""The outside world lies, drops and dies while patches are registered; all are anchored once.

Everything is a process of its own: gunicorn, a worker, beat, and the world around them. The logs
have to tell each story by the id of its request.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from app.models.utxo import Utxo
from devnet.supervisor import Devnet
from tests.chaos.live import Accepted, Live
from tests.chaos.processes import Zygote, wait_until
from tests.chaos.stages import KEY, new_uid
from tests.chaos.stories import events
from tests.chaos.workers import WorkerTheatre
from tests.integration.services.invariants import check_at_rest
from tests.integration.services.lab import Lab

COINS = 12
RECORDS = 3
TROUBLE_SECONDS = 2.0
OUTAGE_SECONDS = float(os.environ.get("CHAOS_OUTAGE_SECONDS", TROUBLE_SECONDS))
BROADCAST = "/tx/raw"
STORY = ["chain.signed", "chain.committed", "chain.accepted", "chain.settled", "chain.mined"]


@pytest.fixture(scope="module")
def web(devnet: Devnet) -> Devnet:
    """The session's devnet with gunicorn."""
    devnet.start("web")
    return devnet


@pytest.fixture
def live(
    lab: Lab, web: Devnet, quick_zygote: Zygote, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """The service at work, with coins."""
    lab.fill_pool(COINS)
    live = Live(WorkerTheatre(lab, quick_zygote, tmp_path_factory.mktemp("beat")), web)
    with live.running():
        yield live


def faults(*kinds: dict[str, object]) -> Callable[[Live], None]:
    return lambda live: live.lab.set_faults(*kinds)


LIES = {
    "missing inputs that are there": faults({"kind": "false_missing_inputs", "times": 4}),
    "accepted and called missing": faults({"kind": "accept_then_missing_inputs", "times": 4}),
    "accepted with the answer lost": faults({"kind": "cut_after", "path": BROADCAST, "times": 4}),
    "not accepted and no answer": faults({"kind": "cut_before", "path": BROADCAST, "times": 4}),
    "an empty list of outputs": faults({"kind": "hide_outputs"}),
    "web pages for answers": faults({"kind": "garbage"}),
    "a storm of 429": faults({"kind": "status", "status": 429, "retry_after": 1}),
    "5xx for a while": faults({"kind": "status", "status": 503}),
}


# These have no end of their own.
OUTAGES = ("a storm of 429", "5xx for a while")


@pytest.mark.parametrize("lie", LIES)
def test_m2_no_lie_loses_or_doubles_a_record(live: Live, lie: str) -> None:
    LIES[lie](live)

    accepted = live.register(RECORDS)
    time.sleep(OUTAGE_SECONDS if lie in OUTAGES else TROUBLE_SECONDS)
    live.lab.clear_faults()

    _check_end(live, accepted)


def test_a_dropped_mempool_is_sent_again(live: Live) -> None:
    accepted = live.register(RECORDS)
    live.wait_until_confirmed(accepted)
    assert live.lab.control("evict", {"txids": None})["evicted"]

    wait_until(lambda: len(live.lab.chain_transactions()) > RECORDS, what="sent again")

    _check_end(live, accepted)


def test_a_dead_redis_delays_and_loses_nothing(live: Live) -> None:
    live.devnet.kill("redis")
    try:
        accepted = live.register(RECORDS)
        time.sleep(TROUBLE_SECONDS)
    finally:
        live.devnet.start("redis")
    accepted += live.register(1)

    _check_end(live, accepted)


def test_a_database_that_dies_in_the_middle_keeps_what_was_accepted(live: Live) -> None:
    accepted = live.register(RECORDS)
    live.devnet.kill("database")
    refused = Accepted(new_uid(), uuid4().hex)
    try:
        answer = live.try_to_register(refused.uid, refused.request_id)
        assert answer.status_code == 503
        assert answer.json()["error"]["requestId"] == refused.request_id
    finally:
        live.devnet.start("database")
    # A client that was refused tries again.
    assert live.try_to_register(refused.uid, refused.request_id).status_code in (202, 409)

    _check_end(live, [*accepted, refused])


def test_a_signer_that_dies_in_the_middle_delays_and_loses_nothing(live: Live) -> None:
    live.devnet.kill("signer")
    try:
        accepted = live.register(RECORDS)
        time.sleep(TROUBLE_SECONDS)
    finally:
        live.devnet.start("signer")

    _check_end(live, accepted)


def _check_end(live: Live, accepted: list[Accepted]) -> None:
    """Everything is mined, once each, and each request's story is in the logs."""
    live.wait_until_confirmed(accepted)
    live.wait_until_mined()
    check_at_rest(live.lab)
    assert Utxo.count_available(KEY) == COINS
    for each in accepted:
        story = live.logs.follow(each.request_id)
        told = events(story)
        assert "http.request" in told
        assert [event for event in told if event in STORY] == STORY, told
        assert len({line["txid"] for line in story if line.get("event") in STORY}) == 1
