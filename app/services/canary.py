"""Rehearses a login from end to end, for nobody and without a token, to see whether one works."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from app.bitcoin.keys import PrivateKey
from app.domain import svd
from app.domain.clock import utc_now
from app.models.svd_key import SvdKey
from app.services import challenges, login, login_metrics, signer_kid
from app.services.challenges import Purpose

_NOBODY = "0" * 24


@dataclass(frozen=True)
class Canary:
    """What the rehearsal met: the signer's key, and events of real logins by name."""

    kid: str
    events: dict[str, int]
    sung_at: datetime


def sing() -> Canary:
    """Answers when the database, Redis and the signer did their parts of a login.

    Raises:
        UnavailableError, or the error of a connection: one of them did not.
    """
    key = PrivateKey.generate()
    challenge = challenges.create(Purpose.CANARY, _NOBODY)
    SvdKey.find_login_key(_NOBODY)
    signature = key.add(svd.tweak(challenge.digest)).sign(challenge.digest)
    with challenges.answering(challenge):
        login.check_signed_challenge(key.public_key, challenge.digest, signature.hex())
    derived = login.derive(challenge, key.public_key)
    challenges.consume(challenge)
    return Canary(signer_kid.note(derived.kid), _count_events(), utc_now())


def _count_events() -> dict[str, int]:
    events: Counter[str] = Counter({event.value: 0 for event in login_metrics.Event})
    for (event, _), number in login_metrics.read().events.items():
        events[event] += number
    return dict(events)
