"""A till dies, or falls asleep, between any two steps of an approval: the claim reaches its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from app.domain.states import ClaimStatus, RecordStatus
from app.errors import PatchMovedError
from app.models.claim_intent import ClaimIntent
from app.models.record import AuthenticationRecord
from app.services import claims, submission, verification
from tests.integration.services.crashes import POINTS, CrashPoint, crashing
from tests.integration.services.invariants import check_at_rest
from tests.integration.services.lab import Lab, Owner
from tests.integration.services.tills import (
    UID,
    Shop,
    approve,
    claimed,
    record_of,
    standing,
    stored,
)

# Each side of each write of an approval; the rest of the way to the chain is that of any record.
APPROVING = {
    "approved": CrashPoint(ClaimIntent, "approve"),
    "nothing of the record stored": CrashPoint(
        AuthenticationRecord, "insert_all", 1, lambda records: ([],)
    ),
    "record stored": CrashPoint(AuthenticationRecord, "insert_all"),
    "set off": CrashPoint(submission, "set_off"),
    "claim": POINTS["claim"],
    "persist": POINTS["persist"],
    "first broadcast": POINTS["first broadcast"],
    "advance_each": POINTS["advance_each"],
    "settle_each": POINTS["settle_each"],
    "confirmed": CrashPoint(ClaimIntent, "confirm_all"),
}
MENDING = {
    "orphans found": CrashPoint(AuthenticationRecord, "find_outcomes"),
    "nothing stored": APPROVING["nothing of the record stored"],
    "record stored": APPROVING["record stored"],
    "put off": CrashPoint(ClaimIntent, "look_again"),
}


@pytest.fixture
def shop(lab: Lab) -> Shop:
    return Shop(lab)


@pytest.mark.parametrize("point", APPROVING)
@pytest.mark.parametrize("jobs_async", ["0", "1"])
def test_m10_a_crash_of_the_till_costs_time_and_nothing_else(
    lab: Lab, shop: Shop, point: str, jobs_async: str
) -> None:
    if jobs_async == "1" and APPROVING[point] in POINTS.values():
        # That step is a worker's, whose crashes are those of any record.
        jobs_async = "0"
    shop.open(JOBS_ASYNC=jobs_async)
    customer = Owner()
    claim = claimed(customer)
    before = lab.accepted_count()

    with crashing(APPROVING[point]):
        approve(claim)
    assert standing(claim) in (ClaimStatus.APPROVED, ClaimStatus.CONFIRMED)
    lab.sweep_until_quiet()

    assert stored(claim).status == ClaimStatus.CONFIRMED
    assert lab.accepted_count() == before + 1
    assert verification.verify(UID).record["auth"]["owner"] == customer.address
    assert verification.verify(UID).status == verification.AUTHENTIC
    check_at_rest(lab)


@pytest.mark.parametrize("point", MENDING)
def test_m10_a_crash_while_claims_are_mended_is_mended_too(
    lab: Lab, shop: Shop, point: str
) -> None:
    shop.open(JOBS_ASYNC="1")
    claim = claimed(Owner())
    with crashing(APPROVING["approved"]):
        approve(claim)
    lab.pass_time()

    with crashing(MENDING[point]):
        claims.settle_due()
    lab.sweep_until_quiet()

    assert stored(claim).status == ClaimStatus.CONFIRMED
    assert AuthenticationRecord.objects(kind="TRANSFER").count() == 1
    check_at_rest(lab)


def test_m10_an_approved_claim_without_a_record_is_told_as_approved_and_mended(
    lab: Lab, shop: Shop
) -> None:
    shop.open(JOBS_ASYNC="1")
    claim = claimed(Owner())
    with crashing(APPROVING["approved"]):
        approve(claim)

    assert standing(claim) == ClaimStatus.APPROVED
    assert not AuthenticationRecord.objects(kind="TRANSFER").count()
    # Its age does not expire it: it was approved in time.
    lab.pass_time()
    assert standing(claim) == ClaimStatus.APPROVED

    report = claims.settle_due()

    assert (report.mended, report.expired) == (1, 0)
    record = record_of(claim)
    assert (record.status, record.owner) == (RecordStatus.PENDING, claim.customer_address)
    assert record.next_attempt_at is not None
    assert claims.settle_due().mended == 0


def test_m10_a_claim_whose_patch_went_on_while_its_till_was_dead_has_failed(
    lab: Lab, shop: Shop
) -> None:
    registered = shop.open(JOBS_ASYNC="1")
    claim = claimed(Owner())
    with crashing(APPROVING["approved"]):
        approve(claim)
    moved = lab.transfer(registered.head, shop.owner, Owner(), UID).record

    lab.sweep_until_quiet()

    assert stored(claim).status == ClaimStatus.FAILED
    assert "handed on" in stored(claim).reason
    assert claims.get_standing(str(claim.id)).error == stored(claim).reason
    assert record_of(claim).status == RecordStatus.FAILED
    assert lab.reload(moved).status == RecordStatus.CONFIRMED
    check_at_rest(lab)


@pytest.mark.parametrize("what", ["mended", "failed", "failed, and the head is free again"])
def test_m10_a_till_that_wakes_up_late_changes_nothing(lab: Lab, shop: Shop, what: str) -> None:
    """It has approved and sleeps; the claim is mended, or ends, before it stores the record."""
    registered = shop.open(JOBS_ASYNC="1")
    claim = claimed(Owner())
    with _between_the_writes(lambda: _go_on(lab, shop, registered.head, what)):
        if what == "mended":
            approve(claim)
        else:
            with pytest.raises(PatchMovedError):
                approve(claim)
    lab.sweep_until_quiet()

    expected = ClaimStatus.CONFIRMED if what == "mended" else ClaimStatus.FAILED
    assert stored(claim).status == expected
    assert AuthenticationRecord.objects(id=stored(claim).record_id).count() == 1
    check_at_rest(lab)


def _go_on(lab: Lab, shop: Shop, head: str, what: str) -> None:
    """What others do while the till sleeps between its two writes."""
    lab.pass_time()
    if what == "mended":
        assert claims.settle_due().mended == 1
        return
    other = lab.transfer(head, shop.owner, Owner(), UID).record
    assert claims.settle_due().failed == 1
    if what == "failed, and the head is free again":
        assert AuthenticationRecord.fail_unclaimed(other.id, "given up")


@contextmanager
def _between_the_writes(action: Callable[[], None]) -> Iterator[None]:
    """Has something happen when the claim is approved and its record is not stored yet."""
    store = AuthenticationRecord.insert_all
    left = [action]

    def late(records: list[AuthenticationRecord]) -> list[AuthenticationRecord]:
        if left:
            left.pop()()
        return store(records)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AuthenticationRecord, "insert_all", late)
        yield
