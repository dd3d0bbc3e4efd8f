"""A patch goes over the counter: claimed, approved, anchored, and its customer's from then on."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from app.domain.clock import unix_milliseconds, utc_now
from app.domain.messages import transfer_message
from app.domain.states import ClaimStatus, RecordStatus
from app.errors import (
    ClaimExpiredError,
    ClaimNotPendingError,
    ClaimReplayedError,
    ClaimSignatureError,
    InvalidInputError,
    NotFoundError,
    NotOwnerError,
    OwnerSignatureError,
    OwnerSignatureRequiredError,
    PatchMovedError,
)
from app.models.claim_intent import ClaimIntent
from app.models.record import AuthenticationRecord
from app.services import anchoring, claims, history, verification
from tests.bench.counting import counting
from tests.integration.services.invariants import check_at_rest
from tests.integration.services.lab import Lab, Owner
from tests.integration.services.tills import (
    CASHIER,
    UID,
    Shop,
    approve,
    claimed,
    record_of,
    signed_claim,
    standing,
    stored,
)

WINDOW_MS = 180_000


@pytest.fixture
def shop(lab: Lab) -> Shop:
    return Shop(lab)


@pytest.mark.parametrize("jobs_async", ["0", "1"])
def test_f7_f19_a_patch_is_claimed_approved_and_handed_on(
    lab: Lab, shop: Shop, jobs_async: str
) -> None:
    registered = shop.open(JOBS_ASYNC=jobs_async)
    customer, buyer = Owner(), Owner()
    claim = claimed(customer)
    assert standing(claim) == ClaimStatus.PENDING

    approval = approve(claim)
    anchoring.anchor_due(10)

    record = record_of(claim)
    assert (approval.claim_id, approval.pending_id) == (str(claim.id), str(record.id))
    assert (approval.job_id is None) == (jobs_async == "0")
    told = claims.get_standing(str(claim.id))
    assert (told.status, told.txid, told.error) == (ClaimStatus.CONFIRMED, record.head, None)
    assert told.approved_by == CASHIER
    result = verification.verify(UID)
    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
    assert result.record["auth"]["owner"] == customer.address
    assert [event.moved_by for event in history.list_custody(UID)] == [
        "registration",
        "point_of_sale",
    ]
    lab.transfer(record.head, customer, buyer, UID)
    lab.sweep_until_quiet()
    assert verification.verify(UID).record["auth"]["owner"] == buyer.address
    assert verification.verify(UID).status == verification.AUTHENTIC
    assert stored(claim).status == ClaimStatus.CONFIRMED
    assert registered.head == record.custody.prev_txid
    check_at_rest(lab)


def test_d4_the_customers_claim_is_kept_in_the_record(lab: Lab, shop: Shop) -> None:
    shop.open(JOBS_ASYNC="0")
    claim = claimed(Owner())
    approve(claim)

    auth = verification.verify(UID).record["auth"]
    assert auth["previous_owner"] == shop.owner.address
    assert auth["claim_pubkey"] == claim.customer_public_key_hex
    assert auth["claim_signature"] == claim.signature
    assert (auth["claim_ts"], auth["claim_nonce"]) == (claim.ts, claim.nonce)
    assert "current_owner_signature" not in auth


def test_p5_nobody_reads_the_cashiers_name_in_the_record(lab: Lab, shop: Shop) -> None:
    lab.configure(ONCHAIN_PAYLOAD="record")
    shop.open(JOBS_ASYNC="0", ONCHAIN_PAYLOAD="record")
    claim = claimed(Owner())
    approve(claim)

    record = record_of(claim)
    assert CASHIER not in str(record.to_mongo().to_dict())
    assert CASHIER.encode() not in bytes(lab.transaction_of(record).raw_tx)
    shown = verification.verify(UID).record["auth"]["pos_approved_by"]
    # Who has salt and name can still prove who it was.
    salt = bytes(stored(claim).approver_salt)
    assert shown == "sha256:" + hashlib.sha256(salt + CASHIER.encode()).hexdigest()


def test_s12_a_nonce_works_once(lab: Lab, shop: Shop) -> None:
    shop.open()
    customer = Owner()
    claim = signed_claim(customer)
    claims.create(claim, user_id="customer-1")

    with pytest.raises(ClaimReplayedError):
        claims.create(claim, user_id="customer-1")
    with pytest.raises(ClaimReplayedError):
        # Another signature, another time, the same nonce.
        claims.create(signed_claim(customer, nonce=claim.nonce, ts=claim.ts + 1), user_id="x")

    # Somebody else may have drawn the same.
    claims.create(signed_claim(Owner(), nonce=claim.nonce), user_id="customer-2")
    assert ClaimIntent.objects.count() == 2


def test_s12_a_claim_stays_used_after_it_has_expired(lab: Lab, shop: Shop) -> None:
    shop.open()
    claim = signed_claim(Owner(), ts=unix_milliseconds(utc_now()) + WINDOW_MS - 60_000)
    intent = claims.create(claim, user_id="customer-1")
    lab.pass_time()
    assert claims.settle_due().expired == 1

    with pytest.raises(ClaimReplayedError):
        claims.create(claim, user_id="customer-1")

    # It is forgotten only when its time would be refused anyway.
    last_accepted = claim.ts + WINDOW_MS
    assert unix_milliseconds(stored(intent).purge_at) > last_accepted


@pytest.mark.parametrize("offset_ms", [-WINDOW_MS - 5000, WINDOW_MS + 60_000])
def test_s12_a_claim_out_of_its_window_is_refused(lab: Lab, shop: Shop, offset_ms: int) -> None:
    shop.open()
    claim = signed_claim(Owner(), ts=unix_milliseconds(utc_now()) + offset_ms)

    with pytest.raises(InvalidInputError, match=r"challenge\.ts"):
        claims.create(claim, user_id="customer-1")
    assert ClaimIntent.objects.count() == 0


def test_a_claim_for_an_address_of_another_key_is_refused(lab: Lab, shop: Shop) -> None:
    shop.open()

    with pytest.raises(InvalidInputError, match=r"customer\.address"):
        claims.create(signed_claim(Owner(), address=Owner().address), user_id="x")


def test_f3_a_claim_that_its_key_did_not_sign_is_refused(lab: Lab, shop: Shop) -> None:
    shop.open()
    customer = Owner()
    signed, other = signed_claim(customer), signed_claim(customer)
    forged = type(signed)(**{**vars(signed), "signature_der_hex": other.signature_der_hex})

    with pytest.raises(ClaimSignatureError):
        claims.create(forged, user_id="x")
    assert ClaimIntent.objects.count() == 0


def test_a_claim_of_an_unknown_patch_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFoundError):
        claimed(Owner(), "NFC-unknown")


@pytest.mark.parametrize("claim_id", ["", "x", "0" * 24, "\x00", "é" * 12, "0" * 10_000])
def test_a_claim_that_nobody_knows_is_not_found(lab: Lab, claim_id: str) -> None:
    with pytest.raises(NotFoundError):
        claims.get_standing(claim_id)
    with pytest.raises(NotFoundError):
        claims.approve(claim_id, approved_by=CASHIER)


def test_m10_a_claim_is_approved_once(lab: Lab, shop: Shop) -> None:
    shop.open(JOBS_ASYNC="0")
    claim = claimed(Owner())
    approve(claim, by="Ann")

    with pytest.raises(ClaimNotPendingError):
        approve(claim, by="Bob")

    assert stored(claim).status == ClaimStatus.CONFIRMED
    assert stored(claim).approved_by == "Ann"
    assert AuthenticationRecord.objects(kind="TRANSFER").count() == 1


def test_an_expired_claim_is_not_approved_and_stays_expired(lab: Lab, shop: Shop) -> None:
    shop.open()
    claim = claimed(Owner())
    lab.pass_time()

    with pytest.raises(ClaimExpiredError):
        approve(claim)

    assert stored(claim).status == ClaimStatus.EXPIRED
    with pytest.raises(ClaimExpiredError):
        approve(claim)
    assert AuthenticationRecord.objects(kind="TRANSFER").count() == 0


def test_a_claim_expires_when_it_is_read(lab: Lab, shop: Shop) -> None:
    shop.open()
    claim = claimed(Owner())
    lab.pass_time()

    assert standing(claim) == ClaimStatus.EXPIRED
    assert stored(claim).status == ClaimStatus.EXPIRED
    assert stored(claim).next_attempt_at is None


def test_claims_expire_without_a_reader(lab: Lab, shop: Shop) -> None:
    shop.open()
    old = [claimed(Owner()) for _ in range(3)]
    lab.pass_time()
    fresh = claimed(Owner())

    assert claims.settle_due().expired == 3

    assert {stored(claim).status for claim in old} == {ClaimStatus.EXPIRED}
    assert stored(fresh).status == ClaimStatus.PENDING
    assert claims.settle_due().expired == 0


# Whose patch it is


def test_s13_a_patch_that_is_not_the_shops_needs_its_owners_signature(lab: Lab, shop: Shop) -> None:
    shop.open(JOBS_ASYNC="0")
    seller, buyer = Owner(), Owner()
    approve(claimed(seller))
    claim = claimed(buyer)

    with pytest.raises(OwnerSignatureRequiredError) as caught:
        approve(claim)

    message = transfer_message(UID, claim.head, buyer.address).decode()
    assert caught.value.details[0]["field"] == "currentOwnerSignature"
    assert message in caught.value.details[0]["message"]
    assert standing(claim) == ClaimStatus.PENDING

    approve(claim, owner=seller)

    result = verification.verify(UID)
    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
    assert result.moved_by == "point_of_sale_owner_signature"
    assert result.record["auth"]["current_owner_pubkey"] == seller.public_key_hex
    assert result.record["auth"]["previous_owner"] == seller.address
    check_at_rest(lab)


def test_s13_without_shop_addresses_every_patch_needs_its_owners_signature(lab: Lab) -> None:
    shop = Shop(lab)
    shop.open()
    claim = claimed(Owner())
    lab.configure(POS_SHOP_ADDRESSES="", JOBS_ASYNC="0")

    with pytest.raises(OwnerSignatureRequiredError):
        approve(claim)

    approve(claim, owner=shop.owner)
    assert standing(claim) == ClaimStatus.CONFIRMED


def test_s13_somebody_elses_signature_moves_nothing(lab: Lab, shop: Shop) -> None:
    shop.open()
    claim = claimed(Owner())
    wrong = shop.owner.sign(transfer_message(UID, claim.head, Owner().address))

    with pytest.raises(NotOwnerError):
        approve(claim, owner=Owner())
    with pytest.raises(OwnerSignatureError):
        # Also where none would be needed: what is sent has to be true.
        claims.approve(
            str(claim.id),
            approved_by=CASHIER,
            owner_public_key_hex=shop.owner.public_key_hex,
            owner_signature=wrong,
        )

    assert standing(claim) == ClaimStatus.PENDING
    assert AuthenticationRecord.objects(kind="TRANSFER").count() == 0


def test_m8_a_patch_that_moved_since_it_was_claimed_stays_where_it_is(lab: Lab, shop: Shop) -> None:
    registered = shop.open(JOBS_ASYNC="0")
    claim = claimed(Owner())
    lab.transfer(registered.head, shop.owner, shop.owner, UID)

    with pytest.raises(PatchMovedError):
        approve(claim)
    with pytest.raises(PatchMovedError):
        approve(claim, owner=shop.owner)

    assert standing(claim) == ClaimStatus.PENDING


def test_m8_a_transfer_under_way_keeps_the_till_from_moving_the_patch(lab: Lab, shop: Shop) -> None:
    registered = shop.open(JOBS_ASYNC="1")
    claim = claimed(Owner())
    lab.transfer(registered.head, shop.owner, Owner(), UID)

    with pytest.raises(PatchMovedError):
        approve(claim)

    lab.sweep_until_quiet()
    check_at_rest(lab)


def test_m8_of_two_customers_the_first_approved_has_it(lab: Lab, shop: Shop) -> None:
    shop.open(JOBS_ASYNC="1")
    first, second = claimed(Owner()), claimed(Owner())
    approve(first)

    with pytest.raises(PatchMovedError):
        approve(second)

    lab.sweep_until_quiet()
    assert (standing(first), standing(second)) == (ClaimStatus.CONFIRMED, ClaimStatus.EXPIRED)
    check_at_rest(lab)


# How a claim ends


def test_f19_without_coins_an_approved_claim_waits_in_either_mode(lab: Lab, shop: Shop) -> None:
    shop.open(JOBS_ASYNC="0")
    lab.collection("utxos").delete_many({"status": "available"})
    claim = claimed(Owner())

    approve(claim)

    assert standing(claim) == ClaimStatus.APPROVED
    lab.fill_pool(2)
    lab.sweep_until_quiet()
    assert stored(claim).status == ClaimStatus.CONFIRMED


def test_a_claim_whose_record_fails_has_failed(lab: Lab, shop: Shop) -> None:
    shop.open(JOBS_ASYNC="1")
    claim = claimed(Owner())
    approve(claim)
    AuthenticationRecord.fail_unclaimed(record_of(claim).id, "given up by the operator: test")

    told = claims.get_standing(str(claim.id))
    assert (told.status, told.txid) == (ClaimStatus.FAILED, None)
    assert told.error == "given up by the operator: test"

    lab.pass_time()
    report = claims.settle_due()
    assert (report.failed, stored(claim).status) == (1, ClaimStatus.FAILED)
    assert stored(claim).reason == "given up by the operator: test"
    # The head is free again: the customer claims it anew.
    again = claimed(Owner())
    approve(again)
    lab.sweep_until_quiet()
    assert standing(again) == ClaimStatus.CONFIRMED


def test_claims_that_wait_are_put_off_and_hold_up_no_others(
    lab: Lab, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_LIMIT", 1)
    shop.open(JOBS_ASYNC="1")
    waiting = claimed(Owner())
    approve(waiting)
    lab.registered("NFC-2", shop.owner)
    ended = claimed(Owner(), "NFC-2")
    approve(ended)
    AuthenticationRecord.fail_unclaimed(record_of(ended).id, "test")
    lab.pass_time()

    reports = [claims.settle_due() for _ in range(3)]

    assert sum(report.failed for report in reports) == 1
    assert stored(waiting).status == ClaimStatus.APPROVED
    assert stored(waiting).next_attempt_at > utc_now() - timedelta(seconds=5)


def test_settling_takes_as_many_queries_for_many_claims_as_for_few(lab: Lab, shop: Shop) -> None:
    asked = []
    with counting() as counts:
        shop.open(JOBS_ASYNC="1")
        for size in (1, 5):
            lab.fill_pool(2 * size)
            uids = [f"NFC-{size}-{number}" for number in range(size)]
            for uid in uids:
                lab.registered(uid, shop.owner)
                approve(claimed(Owner(), uid))
            anchoring.anchor_due(100)
            lab.pass_time()
            counts.clear()
            assert claims.settle_due().confirmed == size
            asked.append(counts.names)

    assert asked[0] == asked[1]


def test_m10_a_late_event_leaves_a_confirmed_claim_alone(lab: Lab, shop: Shop) -> None:
    shop.open(JOBS_ASYNC="0")
    claim = claimed(Owner())
    approve(claim)
    before = stored(claim)
    assert before.status == ClaimStatus.CONFIRMED

    assert not ClaimIntent.approve(claim.id, utc_now(), approved_by="somebody late")
    assert not ClaimIntent.expire(claim.id, utc_now() + timedelta(days=1))
    assert ClaimIntent.fail_all({claim.id: "late"}) == 0

    assert stored(claim).to_mongo() == before.to_mongo()


def test_a_confirmed_record_and_its_claim_say_the_same(lab: Lab, shop: Shop) -> None:
    shop.open(JOBS_ASYNC="0")
    claim = claimed(Owner())
    approve(claim)

    record = record_of(claim)
    assert record.status == RecordStatus.CONFIRMED
    assert record.owner == claim.customer_address
    assert record.ts == unix_milliseconds(stored(claim).approved_at)
