"""Owner-only content: a nonce to sign, once, and what it opens."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace

import pytest
import redis

from app import extensions
from app.domain.messages import unlock_message
from app.errors import (
    ChallengeUsedError,
    InvalidInputError,
    NotFoundError,
    NotOwnerError,
    OwnerSignatureError,
    UnavailableError,
)
from app.models.record import AuthenticationRecord
from app.services import unlocking
from app.services.unlocking import SealedContent, Unlocked
from tests.integration.services.lab import Lab, Owner
from tests.integration.services.test_races import at_once

UID = "NFC_UID_001"
# The vector of the HTTP contract, section 6.
MASTER_SECRET = "vector-master-secret"
SEALED = SealedContent(
    wrapped_key=b64decode("EhxCkbH6GoinqJ0rOw3WepxGMziSFDiDUiriI5/jDhYBK8vQ6QsU10FLKPN18pP+"),
    wrap_iv=b64decode("AQIDBAUGBwgJCgsM"),
    ciphertext=b64decode("Va8eFz44EUrq1k9xNzwU7u8BGRWqeRunjD+k"),
    cipher_iv=b64decode("DAsKCQgHBgUEAwIB"),
)


@pytest.fixture
def owner(lab: Lab) -> Owner:
    """The owner of a registered patch."""
    lab.configure(MASTER_SECRET=MASTER_SECRET)
    lab.fill_pool(2)
    owner = Owner()
    lab.registered(UID, owner)
    return owner


def head_of(uid: str = UID) -> str:
    """The txid that stands in the signed message."""
    record = AuthenticationRecord.objects.get(uid_tag_id=uid)
    return str(record.head)


def unlock(
    signer: Owner, nonce: str | None, *, uid: str = UID, sealed: SealedContent | None = None
) -> Unlocked:
    """Signs for a nonce and unlocks."""
    return unlocking.unlock(
        uid_tag_id=uid,
        public_key_hex=signer.public_key_hex,
        signature_der_hex=signer.sign(unlock_message(uid, head_of(uid), nonce)),
        nonce=nonce,
        sealed=sealed,
    )


def test_f8_the_contracts_vector_opens(lab: Lab, owner: Owner) -> None:
    nonce = unlocking.create_challenge(UID).nonce

    result = unlock(owner, nonce, sealed=SEALED)

    assert result == Unlocked(UID, head_of(), "hello patch")


def test_s11_a_nonce_works_once(lab: Lab, owner: Owner) -> None:
    nonce = unlocking.create_challenge(UID).nonce
    assert unlock(owner, nonce).content is None

    with pytest.raises(ChallengeUsedError):
        unlock(owner, nonce)


def test_s11_of_ten_that_use_a_nonce_at_once_one_succeeds(lab: Lab, owner: Owner) -> None:
    nonce = unlocking.create_challenge(UID).nonce

    results = at_once(10, lambda _: unlock(owner, nonce))

    assert len([each for each in results if isinstance(each, Unlocked)]) == 1
    assert len([each for each in results if isinstance(each, ChallengeUsedError)]) == 9


def test_a_patch_has_many_challenges_at_once(lab: Lab, owner: Owner) -> None:
    nonces = [unlocking.create_challenge(UID).nonce for _ in range(3)]

    assert len({unlock(owner, nonce).txid for nonce in reversed(nonces)}) == 1


def test_another_patchs_nonce_and_an_invented_one_are_refused(lab: Lab, owner: Owner) -> None:
    lab.registered("NFC-2", owner)
    nonce = unlocking.create_challenge("NFC-2").nonce

    for wrong in (nonce, "00" * 16, ""):
        with pytest.raises(ChallengeUsedError):
            unlock(owner, wrong)

    assert unlock(owner, nonce, uid="NFC-2").uid_tag_id == "NFC-2"


def test_an_expired_nonce_is_refused(lab: Lab, owner: Owner) -> None:
    lab.configure(UNLOCK_CHALLENGE_TTL_SEC="1")
    challenge = unlocking.create_challenge(UID)
    [key] = extensions.get().redis.keys("unlock:*")
    assert extensions.get().redis.pttl(key) <= 1000
    extensions.get().redis.pexpire(key, 0)

    with pytest.raises(ChallengeUsedError):
        unlock(owner, challenge.nonce)


def test_s7_a_stranger_does_not_use_a_nonce_up(lab: Lab, owner: Owner) -> None:
    stranger = Owner()
    nonce = unlocking.create_challenge(UID).nonce

    with pytest.raises(NotOwnerError):
        unlock(stranger, nonce)
    with pytest.raises(OwnerSignatureError):
        unlocking.unlock(
            uid_tag_id=UID,
            public_key_hex=owner.public_key_hex,
            signature_der_hex=stranger.sign(unlock_message(UID, head_of(), nonce)),
            nonce=nonce,
            sealed=None,
        )

    assert unlock(owner, nonce).txid == head_of()


def test_f3_the_reversed_digest_does_not_unlock(lab: Lab, owner: Owner) -> None:
    nonce = unlocking.create_challenge(UID).nonce
    digest = unlocking.digest(unlock_message(UID, head_of(), nonce))

    with pytest.raises(OwnerSignatureError):
        unlocking.unlock(
            uid_tag_id=UID,
            public_key_hex=owner.public_key_hex,
            signature_der_hex=owner.key.sign(digest[::-1]).hex(),
            nonce=nonce,
            sealed=None,
        )


def test_s11_a_signature_without_nonce_works_only_where_it_is_allowed(
    lab: Lab, owner: Owner
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        unlock(owner, None)
    assert refused.value.details[0]["field"] == "nonce"

    lab.configure(UNLOCK_ALLOW_STATIC="1", MASTER_SECRET=MASTER_SECRET)

    assert unlock(owner, None, sealed=SEALED).content == "hello patch"


def test_the_owner_before_unlocks_no_more(lab: Lab, owner: Owner) -> None:
    lab.configure(JOBS_ASYNC="0")
    buyer = Owner()
    head = lab.transfer(head_of(), owner, buyer, UID).record.head
    nonce = unlocking.create_challenge(UID).nonce
    message = unlock_message(UID, head, nonce)

    def unlock_as(signer: Owner) -> Unlocked:
        return unlocking.unlock(
            uid_tag_id=UID,
            public_key_hex=signer.public_key_hex,
            signature_der_hex=signer.sign(message),
            nonce=nonce,
            sealed=None,
        )

    with pytest.raises(NotOwnerError):
        unlock_as(owner)
    assert unlock_as(buyer).txid == head


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("wrapped_key", "wrappedKeyB64"),
        ("wrap_iv", "wrappedKeyB64"),
        ("ciphertext", "ciphertextB64"),
    ],
)
def test_f8_what_does_not_open_is_the_callers_mistake(
    lab: Lab, owner: Owner, part: str, field: str
) -> None:
    value = bytearray(getattr(SEALED, part))
    value[-1] ^= 1
    sealed = replace(SEALED, **{part: bytes(value)})
    nonce = unlocking.create_challenge(UID).nonce

    with pytest.raises(InvalidInputError) as refused:
        unlock(owner, nonce, sealed=sealed)

    assert refused.value.details[0]["field"] == field


@pytest.mark.parametrize("part", ["wrapped_key", "wrap_iv", "ciphertext", "cipher_iv"])
def test_f29_empty_parts_are_the_callers_mistake(lab: Lab, owner: Owner, part: str) -> None:
    nonce = unlocking.create_challenge(UID).nonce

    with pytest.raises(InvalidInputError):
        unlock(owner, nonce, sealed=replace(SEALED, **{part: b""}))


def test_a_patch_that_nobody_registered_has_no_challenge(lab: Lab) -> None:
    with pytest.raises(NotFoundError):
        unlocking.create_challenge("NFC-404")


def test_o13_without_redis_nothing_is_unlocked_and_nothing_is_called_used(
    lab: Lab, owner: Owner
) -> None:
    nonce = unlocking.create_challenge(UID).nonce
    lab.devnet.stop("redis")
    try:
        with pytest.raises(UnavailableError):
            unlocking.create_challenge(UID)
        with pytest.raises(UnavailableError):
            unlock(owner, nonce)
    finally:
        lab.devnet.start("redis")

    assert unlock(owner, nonce).txid == head_of()


def test_the_nonce_is_not_in_redis_in_clear(lab: Lab, owner: Owner) -> None:
    nonce = unlocking.create_challenge(UID).nonce
    connection = extensions.get().redis
    assert isinstance(connection, redis.Redis)

    assert not [key for key in connection.keys("*") if nonce in key or UID in key]
