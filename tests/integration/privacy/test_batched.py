"""People whose records share a transaction: they can prove theirs alone, and have it erased."""

from __future__ import annotations

from typing import Any

from app.bitcoin.transactions import Transaction
from app.domain.batch_tree import BatchPlace
from app.domain.envelope import Envelope, batch_payload, record_digest
from app.services import batches, privacy_views, subject_exports, verification
from tests.integration.privacy.people import Member, bury, hand_on, places_of
from tests.integration.services.invariants import check_at_rest
from tests.integration.services.lab import Lab, Owner


def check_offline(record: dict[str, Any]) -> None:
    """Proves an exported record of a batch from its own bytes."""
    chain = record["onChain"]
    digest = record_digest(bytes.fromhex(record["salt"]), record["record"])
    batch = chain["batch"]
    path = b"".join(bytes.fromhex(sibling) for sibling in batch["merklePath"])
    root = BatchPlace(batch["leafIndex"], batch["leafCount"], path).root(bytes.fromhex(digest))
    outputs = Transaction.from_bytes(bytes.fromhex(chain["rawTx"])).outputs
    payload = Envelope.from_locking_script(outputs[0].locking_script).payload
    assert (chain["form"], payload) == ("batch_root", batch_payload(root, batch["leafCount"]))


def test_p2_of_a_batched_record_the_chain_keeps_nothing_that_tells_of_anyone(lab: Lab) -> None:
    ann = Member().join()
    lab.configure(JOBS_ASYNC="1")
    lab.fill_pool(3)
    lab.register("NFC-X", ann.owner)
    lab.register_many(4)
    batches.anchor_waiting()

    exported = privacy_views.export_view(subject_exports.export(ann.subject()))

    [record] = exported["records"]
    check_offline(record)
    hand_on(lab, "NFC-X", ann.owner, Owner())
    bury(lab)
    report = ann.erase()
    assert not report.is_open
    assert {each.what: each.count for each in report.remains}["on_chain_root"] == 1
    assert places_of(lab, *ann.traces) == []
    assert verification.verify("NFC-X").status == verification.AUTHENTIC
    check_at_rest(lab)
