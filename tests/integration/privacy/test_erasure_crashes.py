"""An erasure that dies at any of its writes is finished by whoever comes next."""

from __future__ import annotations

import pytest

from app.domain.clock import utc_now
from app.errors import UnavailableError
from app.models.claim_intent import ClaimIntent
from app.models.erasure import Erasure
from app.models.key_proof import KeyProof
from app.models.record import AuthenticationRecord
from app.models.svd_key import SvdKey
from app.models.transaction import ChainTransaction
from app.models.verification_code import VerificationCode
from app.services import claims, erasing, sessions, verification
from app.services.subjects import Subject
from tests.integration.privacy.people import (
    Member,
    bury,
    counts,
    hand_on,
    places_of,
    prove,
    subject_of,
    sweep_erasures,
)
from tests.integration.services.crashes import CrashPoint, crashing
from tests.integration.services.invariants import check_invariants
from tests.integration.services.lab import Lab, Owner
from tests.integration.services.test_races import at_once
from tests.integration.services.tills import UID, Shop, approve, signed_claim

EMAIL = "ann@shop.example"


class Customer:
    """Ann, who bought at a till, sold what she bought, and asked for a code by mail."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.wallet = Owner()
        self.buyer = Owner()
        Shop(lab).open(JOBS_ASYNC="0")
        self.claim = signed_claim(self.wallet)
        intent = claims.create(self.claim, user_id=EMAIL)
        approve(intent)
        hand_on(lab, UID, self.wallet, self.buyer)
        bury(lab)
        VerificationCode.request(EMAIL, utc_now(), None)
        prove(self.subject(), self.wallet)

    @property
    def traces(self) -> list[str]:
        return [
            EMAIL,
            self.wallet.address,
            self.wallet.public_key_hex,
            self.claim.nonce,
            self.claim.signature_der_hex,
            "Ann at the till",
        ]

    def subject(self, later: int = 0) -> Subject:
        return subject_of(EMAIL, later)

    def check_erased(self) -> None:
        """Asserts that nothing is left of her, and that all is told."""
        report = erasing.request(self.subject(-1))
        assert not report.is_open
        # Her id went with the claim that her key had signed.
        assert counts(report) == {
            "code_request": 1,
            "key_proof": 1,
            "claim": 1,
            "record": 1,
            "handover": 1,
        }
        assert places_of(self.lab, *self.traces) == []
        result = verification.verify(UID)
        assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
        check_invariants()


@pytest.fixture
def customer(lab: Lab) -> Customer:
    return Customer(lab)


POINTS = {
    "request stored": CrashPoint(Erasure, "open"),
    "tokens ended": CrashPoint(sessions, "end_all"),
    "noted": CrashPoint(Erasure, "note"),
    "noted twice": CrashPoint(Erasure, "note", 2),
    "noted four times": CrashPoint(Erasure, "note", 4),
    "no claim erased": CrashPoint(ClaimIntent, "erase_all", 1, lambda claims: ([],)),
    "claims erased": CrashPoint(ClaimIntent, "erase_all"),
    "claims of handovers": CrashPoint(ClaimIntent, "forget_owners_before"),
    "handovers erased": CrashPoint(AuthenticationRecord, "erase_handovers"),
    "owners of transactions": CrashPoint(ChainTransaction, "forget_owners"),
    "owners erased": CrashPoint(AuthenticationRecord, "erase_owners"),
    "codes deleted": CrashPoint(VerificationCode, "forget"),
    "proofs deleted": CrashPoint(KeyProof, "forget"),
    "finished": CrashPoint(Erasure, "finish"),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("mender", ["the next call", "the sweeper"])
def test_p1_a_crash_at_any_write_is_mended(customer: Customer, point: str, mender: str) -> None:
    with crashing(POINTS[point]):
        erasing.request(customer.subject())

    if mender == "the sweeper":
        sweep_erasures(customer.lab)
    customer.check_erased()


def test_a_crash_of_the_sweeper_is_mended_too(customer: Customer) -> None:
    with crashing(POINTS["request stored"]):
        erasing.request(customer.subject())
    with crashing(POINTS["handovers erased"]):
        sweep_erasures(customer.lab)

    sweep_erasures(customer.lab)

    customer.check_erased()


def test_a_login_key_goes_even_if_the_erasure_dies_before(lab: Lab) -> None:
    ann = Member().join()
    with crashing(CrashPoint(SvdKey, "remove", 1, lambda user, _key, until: (user, "", until))):
        ann.erase()
    assert SvdKey.find(ann.user_id) is not None

    sweep_erasures(lab)

    assert SvdKey.find(ann.user_id) is None
    assert places_of(lab, *ann.traces) == []


def test_two_at_once_erase_once(customer: Customer) -> None:
    asked = at_once(4, lambda _: erasing.request(customer.subject()))

    assert len(asked) == 4
    sweep_erasures(customer.lab)
    customer.check_erased()


def test_without_redis_nobody_is_told_that_it_is_done(customer: Customer) -> None:
    customer.lab.configure(REDIS_URL="redis://127.0.0.1:1/0", JOBS_ASYNC="0")
    with pytest.raises(UnavailableError):
        erasing.request(customer.subject())
    sweep_erasures(customer.lab)

    customer.lab.configure(JOBS_ASYNC="0")
    sweep_erasures(customer.lab)

    customer.check_erased()
