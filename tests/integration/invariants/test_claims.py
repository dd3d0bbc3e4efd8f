"""Claims and their records agree, and whatever does not is named."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from app.models.claim_intent import ClaimIntent
from app.models.record import AuthenticationRecord
from app.services import claims
from tests.integration.invariants.test_broken import broken, damage
from tests.integration.services.crashes import CrashPoint, crashing
from tests.integration.services.lab import Lab, Owner
from tests.integration.services.tills import Shop, approve, claimed, stored

RULE = "claim-agrees-with-record"


@pytest.fixture
def shop(lab: Lab) -> Shop:
    shop = Shop(lab)
    shop.open(JOBS_ASYNC="0")
    return shop


@pytest.fixture
def sold(shop: Shop) -> ClaimIntent:
    """A claim that is confirmed."""
    claim = claimed(Owner())
    approve(claim)
    return stored(claim)


def test_sales_wherever_they_are_leave_everything_whole(lab: Lab, shop: Shop) -> None:
    expired, pending = claimed(Owner()), claimed(Owner())
    ClaimIntent.expire(expired.id, expired.expires_at)
    assert broken() == {}
    with crashing(CrashPoint(ClaimIntent, "approve")):
        approve(pending)
    assert broken() == {}
    lab.pass_time()
    claims.settle_due()
    assert broken() == {}
    lab.sweep_until_quiet()
    assert broken() == {}
    assert stored(pending).status == "confirmed"


DAMAGES: dict[str, tuple[dict[str, Any], str]] = {
    "no such state": ({"$set": {"status": "lost"}}, "status-is-legal"),
    "pending with a record": (
        {"$set": {"status": "pending", "next_attempt_at": "x"}},
        RULE,
    ),
    "approved and never looked at": ({"$set": {"status": "approved"}}, "waiting-has-next-attempt"),
    "failed, and its record is confirmed": ({"$set": {"status": "failed"}}, RULE),
    "no record named": ({"$unset": {"record_id": 1}}, RULE),
    "another record named": ({"$set": {"record_id": ObjectId()}}, RULE),
    "another owner": ({"$set": {"customer_address": "x"}}, RULE),
    "another head": ({"$set": {"head": "ab" * 32}}, RULE),
    "ended and waiting": ({"$set": {"next_attempt_at": "x"}}, "ended-claim-is-whole"),
}


@pytest.mark.parametrize(("change", "rule"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_claim_is_named(
    lab: Lab, sold: ClaimIntent, change: dict[str, Any], rule: str
) -> None:
    damage(lab, "claim_intents", sold.id, change)

    assert broken(ask_chain=False)[rule] == (str(sold.id),)


def test_m10_a_confirmed_claim_whose_record_waits(lab: Lab, shop: Shop) -> None:
    claim = claimed(Owner())
    lab.configure(JOBS_ASYNC="1", POS_SHOP_ADDRESSES=shop.owner.address)
    approve(claim)
    assert ClaimIntent.confirm_all([claim.id]) == 1

    assert broken(ask_chain=False) == {RULE: (str(claim.id),)}
    assert AuthenticationRecord.objects(status="pending").count() == 1
