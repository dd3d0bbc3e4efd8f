"""Erases what is held about somebody, on their word or on an operator's.

The request is stored first, with all that is needed to carry it out; every step after it can be
repeated. So whoever dies in the middle leaves an open request, and the next call, or `sweep`, goes
on with it. What can't be erased yet, since it has not settled, keeps it open.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from app import extensions
from app.domain.clock import utc_now
from app.domain.states import CLAIM_TERMINAL
from app.errors import NotFoundError, PatchProofError
from app.models.claim_intent import ClaimIntent
from app.models.erasure import Erasure
from app.models.key_proof import KeyProof
from app.models.svd_key import SvdKey
from app.models.verification_code import VerificationCode
from app.services import erasing_records, sessions, subjects
from app.services.erasing_records import Kept, Obstacle, What
from app.services.erasure_reports import Report, report
from app.services.subjects import Identity, Subject

logger = logging.getLogger(__name__)

BY_SUBJECT = "subject"
_PAGE = 200
# What one request erases before the sweeper takes over: some thousand records.
_PAGES_A_REQUEST = 20
_SETTLING = timedelta(seconds=60)
# Until somebody hands a patch on.
_STANDING = timedelta(hours=1)
# Longer than any token of ours lives, so that whoever asks again is told how it ended.
_KEPT = timedelta(days=2)
_LIMIT = 20


def request(subject: Subject, by: str = BY_SUBJECT) -> Report:
    """Erases what is held about a subject, as far as it can be now; answers what, and what not.

    Whoever logged in before an earlier request is told how that stands, and carries it on: an old
    token does not erase what has come since.

    Raises:
        LoginKeyRevokedError: see `subjects.load`.
        UnavailableError: Redis is away, so their tokens are not ended yet; the sweeper goes on.
    """
    standing = Erasure.find(subject.digest)
    if standing is None or subject.logged_in_at > int(standing.requested_at.timestamp()):
        standing = _open(subjects.load(subject, even_revoked=by != BY_SUBJECT), by)
    if standing.is_open:
        return _carry_on(standing, _PAGES_A_REQUEST)
    return report(standing, [])


def preview(subject: Subject) -> Identity:
    """Whose request it would be, with the keys that an erasure would follow; changes nothing."""
    return subjects.load(subject, even_revoked=True)


def sweep() -> int:
    """Goes on with the requests whose time has come; answers how many have ended."""
    now = utc_now()
    lease = timedelta(seconds=extensions.get().settings.claim_lease_seconds)
    ended = 0
    for erasure in Erasure.list_due(now, _LIMIT):
        if not erasure.put_off(now + lease):
            continue
        try:
            ended += not _carry_on(erasure).is_open
        except PatchProofError as error:
            # Its time comes again when the lease is over.
            logger.warning("an erasure waits: %s", error, extra={"event": "privacy.waits"})
    return ended


def free(user_id: str) -> None:
    """Lets the id of somebody who was erased be registered again.

    Raises:
        NotFoundError: nobody of this id was erased, or it is free already.
    """
    if not Erasure.free(subjects.digest(user_id)):
        raise NotFoundError("no erasure keeps this user id")
    logger.info("user id freed", extra={"event": "privacy.freed"})


def _open(identity: Identity, by: str) -> Erasure:
    now = utc_now()
    key = identity.login_key
    lease = timedelta(seconds=extensions.get().settings.claim_lease_seconds)
    return Erasure.open(
        identity.subject.digest,
        subject=identity.subject.name,
        by=by,
        login_key_hex=None if key is None else key.public_key_hex,
        public_keys=identity.public_keys,
        is_user_id=identity.subject.is_user_id,
        now=now,
        next_attempt_at=now + lease,
    )


def _carry_on(erasure: Erasure, max_pages: int | None = None) -> Report:
    """Takes an open request as far as it goes now."""
    sessions.end_all(erasure.subject_digest, erasure.requested_at)
    kept = [
        *_erase_login_key(erasure),
        *_erase_claims(erasure),
        *erasing_records.erase(
            erasure, subjects.addresses(erasure.public_keys), max_pages=max_pages
        ),
    ]
    _erase_codes(erasure)
    _forget_user_id(erasure)
    _erase_proofs(erasure)
    _end(erasure, kept)
    latest = Erasure.find(erasure.subject_digest) or erasure
    _log(latest, kept)
    return report(latest, kept)


def _end(erasure: Erasure, kept: Sequence[Kept]) -> None:
    if kept:
        is_settling = any(each.obstacle.is_settling for each in kept)
        erasure.put_off(utc_now() + (_SETTLING if is_settling else _STANDING))
        return
    counts = Counter(item.partition(":")[0] for item in erasure.items)
    # A user id is kept for good, hashed; whatever else is known by its name is forgotten.
    erasure.finish(counts, None if erasure.is_user_id else utc_now() + _KEPT)


def _erase_login_key(erasure: Erasure) -> Iterator[Kept]:
    if erasure.login_key_hex is None:
        return
    erasure.note([What.LOGIN_KEY.item(1)])
    SvdKey.remove(erasure.subject, erasure.login_key_hex, erasure.requested_at)
    left = SvdKey.find(erasure.subject)
    if left is not None and any(
        each.public_key_hex == erasure.login_key_hex for each in left.history
    ):
        # Changed between the request and its first step: whoever did may ask again.
        yield Kept(Obstacle.LOGIN_KEY_CHANGED, "login key")


def _erase_codes(erasure: Erasure) -> None:
    found = VerificationCode.find_by_identifier(erasure.subject)
    if found is not None and found.requested_at <= erasure.requested_at:
        erasure.note([What.CODE_REQUEST.item(found.id)])
        VerificationCode.forget(erasure.subject, erasure.requested_at)


def _erase_proofs(erasure: Erasure) -> None:
    proofs = [
        proof
        for proof in KeyProof.list_of(erasure.subject_digest)
        if proof.proven_at <= erasure.requested_at
    ]
    erasure.note([What.KEY_PROOF.item(proof.public_key_hex) for proof in proofs])
    KeyProof.forget(
        erasure.subject_digest,
        [proof.public_key_hex for proof in proofs],
        erasure.requested_at,
    )


def _forget_user_id(erasure: Erasure) -> None:
    """Takes the subject's id out of claims, a stranger's too: nobody has signed it."""
    while ids := ClaimIntent.list_naming(erasure.subject, erasure.requested_at, _PAGE):
        erasure.note([What.USER_ID_IN_CLAIM.item(each) for each in ids])
        ClaimIntent.forget_user_id(ids, erasure.subject)


def _erase_claims(erasure: Erasure) -> Iterator[Kept]:
    """Erases claims that the subject's own keys have signed, and no others."""
    for page in _pages_of_claims(erasure.public_keys):
        mine = [claim for claim in page if claim.created_at <= erasure.requested_at]
        ended = [claim for claim in mine if claim.status in CLAIM_TERMINAL]
        erasure.note([What.CLAIM.item(claim.id) for claim in ended])
        ClaimIntent.erase_all(ended)
        yield from (
            Kept(Obstacle.CLAIM_UNDER_WAY, str(claim.id)) for claim in mine if claim not in ended
        )


def _pages_of_claims(public_keys: Sequence[str]) -> Iterator[Sequence[ClaimIntent]]:
    after = None
    while public_keys:
        page = ClaimIntent.list_of_keys(public_keys, after=after, limit=_PAGE)
        yield page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _log(erasure: Erasure, kept: Iterable[Kept]) -> None:
    logger.info(
        "erasure %s",
        "waits" if erasure.is_open else "done",
        extra={
            "event": "privacy.erased",
            "requested_by": erasure.requested_by,
            "kept": dict(Counter(each.obstacle.value for each in kept)),
        },
    )
