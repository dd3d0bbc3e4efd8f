"""Two tills, an owner and a clock at the same claim: one of them wins."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.clock import utc_now
from app.domain.states import ClaimStatus, RecordStatus
from app.errors import (
    ClaimExpiredError,
    ClaimNotPendingError,
    ClaimReplayedError,
    PatchMovedError,
)
from app.models.claim_intent import ClaimIntent
from app.models.record import AuthenticationRecord
from app.services import anchoring, claims, sweeper
from app.services.claims import Approval
from tests.integration.services.invariants import check_at_rest
from tests.integration.services.lab import Lab, Owner
from tests.integration.services.test_races import at_once
from tests.integration.services.tills import (
    UID,
    Shop,
    approve,
    claimed,
    record_of,
    signed_claim,
    stored,
)


@pytest.fixture
def shop(lab: Lab) -> Shop:
    return Shop(lab)


@pytest.mark.parametrize("jobs_async", ["0", "1"])
def test_m10_of_eight_approvals_of_a_claim_one_wins(lab: Lab, shop: Shop, jobs_async: str) -> None:
    shop.open(JOBS_ASYNC=jobs_async)
    claim = claimed(Owner())
    before = lab.accepted_count()

    results = at_once(8, lambda number: approve(claim, by=f"cashier {number}"))

    [winner] = [n for n, result in enumerate(results) if isinstance(result, Approval)]
    losers = (ClaimNotPendingError, PatchMovedError)
    assert len([r for r in results if isinstance(r, losers)]) == 7
    assert stored(claim).approved_by == f"cashier {winner}"
    assert AuthenticationRecord.objects(kind="TRANSFER").count() == 1
    lab.sweep_until_quiet()
    assert stored(claim).status == ClaimStatus.CONFIRMED
    assert lab.accepted_count() == before + 1
    check_at_rest(lab)


def test_m10_an_approval_and_those_who_mend_and_sweep_make_one_transfer(
    lab: Lab, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_LOOK_AGAIN", timedelta(0))
    shop.open(JOBS_ASYNC="0")
    claim = claimed(Owner())
    before = lab.accepted_count()

    def act(number: int) -> object:
        if number == 0:
            return approve(claim)
        return [(claims.settle_due(), sweeper.sweep()) for _ in range(3)]

    results = at_once(4, act)

    assert not [result for result in results if isinstance(result, Exception)]
    lab.sweep_until_quiet()
    assert stored(claim).status == ClaimStatus.CONFIRMED
    assert lab.accepted_count() == before + 1
    check_at_rest(lab)


def test_m8_of_an_approval_and_the_owners_transfer_one_wins(lab: Lab, shop: Shop) -> None:
    registered = shop.open(JOBS_ASYNC="1")
    for _ in range(4):
        claim = claimed(Owner())
        head = claim.head

        def act(number: int, claim: ClaimIntent = claim, head: str = head) -> object:
            if number == 0:
                return approve(claim)
            return lab.transfer(head, shop.owner, Owner(), UID)

        results = at_once(2, act)

        [lost] = [result for result in results if isinstance(result, Exception)]
        assert isinstance(lost, PatchMovedError)
        [live] = AuthenticationRecord.objects(active_key=f"xfer:{head}")
        if isinstance(results[0], Approval):
            assert live.id == stored(claim).record_id
        else:
            assert stored(claim).status in (ClaimStatus.PENDING, ClaimStatus.FAILED)
        # Once more from the start.
        assert AuthenticationRecord.fail_unclaimed(live.id, "test")
    assert registered.head == head
    lab.sweep_until_quiet()
    check_at_rest(lab)


def test_m10_of_an_approval_and_the_end_of_time_one_wins(lab: Lab, shop: Shop) -> None:
    """Each works with its own idea of the time, as hosts do whose clocks differ."""
    shop.open(JOBS_ASYNC="1")
    for _ in range(5):
        claim = claimed(Owner())
        late = claim.expires_at + timedelta(seconds=1)

        def act(number: int, claim: ClaimIntent = claim, late: object = late) -> object:
            if number == 0:
                return approve(claim)
            return ClaimIntent.expire(claim.id, late)  # type: ignore[arg-type]

        approved, expired = at_once(2, act)

        if isinstance(approved, Approval):
            assert expired is False
            assert stored(claim).status == ClaimStatus.APPROVED
            assert AuthenticationRecord.fail_unclaimed(record_of(claim).id, "test")
        else:
            assert isinstance(approved, ClaimExpiredError)
            assert expired is True
            assert stored(claim).status == ClaimStatus.EXPIRED
            assert stored(claim).record_id is None
    lab.sweep_until_quiet()
    check_at_rest(lab)


def test_s12_of_twenty_times_the_same_claim_one_is_kept(lab: Lab, shop: Shop) -> None:
    shop.open()
    claim = signed_claim(Owner())

    results = at_once(20, lambda _: claims.create(claim, user_id="customer-1"))

    assert len([r for r in results if isinstance(r, ClaimReplayedError)]) == 19
    assert ClaimIntent.objects.count() == 1


def test_readers_and_those_who_settle_agree_about_the_end(lab: Lab, shop: Shop) -> None:
    shop.open(JOBS_ASYNC="1")
    claim = claimed(Owner())
    approve(claim)
    anchoring.anchor_due(10)
    assert record_of(claim).status == RecordStatus.CONFIRMED
    lab.pass_time()

    results = at_once(
        6,
        lambda number: (
            claims.settle_due() if number % 2 else claims.get_standing(str(claim.id)).status
        ),
    )

    assert set(results[::2]) == {ClaimStatus.CONFIRMED}
    assert stored(claim).status == ClaimStatus.CONFIRMED
    assert stored(claim).updated_at <= utc_now()
