"""What is erased of somebody, what is not, and what the patches of their past say then."""

from __future__ import annotations

from app.models.erasure import Erasure
from app.services import erasing, history, verification
from tests.integration.privacy.conftest import UID, Story
from tests.integration.privacy.people import places_of
from tests.integration.services.invariants import check_invariants


def counts(report: erasing.Report) -> dict[str, int]:
    return {each.what: each.count for each in report.erased}


def remaining(report: erasing.Report) -> dict[str, int]:
    return {each.what: each.count for each in report.remains}


def test_p1_a_former_owner_is_found_nowhere_after_the_erasure(story: Story) -> None:
    before = history.list_custody(UID)
    assert places_of(story.lab, *story.ben.traces)

    report = story.ben.erase()

    assert not report.is_open
    assert counts(report) == {"login_key": 1, "record": 1, "handover": 1}
    assert remaining(report) == {
        "record_frame": 2,
        "product_data": 2,
        "on_chain_digest": 2,
        "user_id_hash": 1,
    }
    assert places_of(story.lab, *story.ben.traces) == []
    after = history.list_custody(UID)
    assert [each.txid for each in after] == [each.txid for each in before]
    assert [each.owner for each in after] == [
        story.brand.address,
        story.ann.owner.address,
        None,
        story.cat.address,
    ]
    assert [each.moved_by for each in after] == [each.moved_by for each in before]
    result = verification.verify(UID)
    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
    assert [(each.head, each.pieces) for each in result.erased] == [
        (after[2].txid, ["owner", "owner_word"]),
        (after[3].txid, ["owner_word"]),
    ]
    assert result.record["auth"]["erased"] == ["owner_word"]
    check_invariants()
    stored = Erasure.find(story.ben.subject().digest)
    assert stored is not None
    assert (stored.subject, stored.public_keys, stored.items) == (None, [], [])
