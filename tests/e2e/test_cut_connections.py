"""The chain takes a transaction and cuts the connection: no record is lost, none is doubled."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from tests.e2e.system import System, at_once

RECORDS = 50
MOST_CUTS = 1000
# By whichever road it is broadcast, WhatsOnChain's or ARC's: no answer to any ever arrives.
WEATHER = [
    {"kind": "cut_after", "method": "POST", "path": path, "times": MOST_CUTS}
    for path in ("/tx/raw", "/arc/v1/tx")
]


@pytest.mark.slow
def test_fifty_registrations_end_as_fifty_transactions(system: System) -> None:
    products, owner = system.make_products(RECORDS), system.make_owner()
    before, counted = system.envelopes().keys(), system.control("GET", "stats")
    system.control("POST", "faults", {"faults": WEATHER})
    accepted = at_once(
        [partial(system.register, product, owner) for product in products],
        threads=8,
    )
    txids = at_once([partial(system.confirm, each) for each in accepted], threads=8)

    now = system.control("GET", "stats")
    assert now["accepted"] - counted["accepted"] == RECORDS
    left = [fault["times"] for fault in system.control("GET", "faults")["faults"]]
    assert len(WEATHER) * MOST_CUTS - sum(left) >= RECORDS
    assert len(set(txids)) == RECORDS
    assert system.envelopes().keys() - before == set(txids)

    uids = [product.uid_tag_id for product in products]
    records = system.records(uid_tag_id={"$in": uids})
    assert Counter(record["uid_tag_id"] for record in records) == dict.fromkeys(uids, 1)
    assert {record["status"] for record in records} == {"confirmed"}
    assert {record["txid"] for record in records} == set(txids)
    stored = system.transactions(**{"records.uid_tag_id": {"$in": uids}})
    assert {transaction["txid"] for transaction in stored} == set(txids)
    assert len(stored) == RECORDS
    spent = Counter(source["outpoint"] for each in stored for source in each["inputs"])
    assert set(spent.values()) == {1}
    system.chain.mine()
    assert system.control("GET", "stats")["mempool"] == 0
