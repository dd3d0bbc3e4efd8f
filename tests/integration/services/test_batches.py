"""Many records in one pass: the number of questions asked does not grow with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from bson import ObjectId
from pymongo import monitoring

from app.domain.selection import Need
from app.models.utxo import Utxo
from app.services import anchoring, pool, pool_split
from tests.integration.services.invariants import check_confirmed_once
from tests.integration.services.lab import Lab


class RoundTrips(monitoring.CommandListener):
    """Counts what is asked of the database."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.counts[event.command_name] += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Only the questions count."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Only the questions count."""


@pytest.fixture
def round_trips() -> Iterator[RoundTrips]:
    """Listens to every connection that is made from now on."""
    counter = RoundTrips()
    listeners = monitoring._LISTENERS.command_listeners
    listeners.append(counter)
    yield counter
    listeners.remove(counter)


def signing_calls(lab: Lab) -> int:
    """Requests for signatures in the signer's log."""
    return lab.devnet.log_path("signer").read_text().count('"/sign"')


def test_one_pass_asks_as_much_for_25_records_as_for_one(
    lab: Lab, round_trips: RoundTrips, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.configure()
    lab.fill_pool(26)
    # The first draw of a process tries how wide a stretch it takes.
    warm_up = ObjectId()
    pool.lock({warm_up: Need((), 100)}, key_identifier="funding")
    Utxo.release_unheld([warm_up])
    counted = {}
    for size in (1, 25):
        records = lab.register_many(size, prefix=f"size-{size}")
        # A process looks at its low water mark once a second at most: here, in either pass.
        monkeypatch.setattr(pool_split, "_look_again_at", {})
        round_trips.counts.clear()
        signed_before = signing_calls(lab)
        assert anchoring.anchor_due(100).settled == size
        counted[size] = (dict(round_trips.counts), signing_calls(lab) - signed_before)
        check_confirmed_once(lab, records)

    assert counted[25] == counted[1]
    assert counted[25][1] == 2, "one call for the issuer's signatures, one for the inputs"
    assert sum(counted[25][0].values()) <= 20


def test_a_pass_takes_no_more_than_it_is_told(lab: Lab) -> None:
    lab.fill_pool(5)
    records = lab.register_many(5)

    assert anchoring.anchor_due(2).settled == 2
    assert anchoring.anchor_due(100).settled == 3

    check_confirmed_once(lab, records)


def test_change_pays_for_the_next_record_at_once(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(4)

    settled = [anchoring.anchor_due(100).settled]
    for _ in range(3):
        lab.pass_time()
        settled.append(anchoring.anchor_due(100).settled)

    assert settled == [1, 1, 1, 1]
    check_confirmed_once(lab, records)
