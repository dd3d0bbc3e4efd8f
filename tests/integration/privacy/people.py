"""People whose data is held, and what they do with their patches."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.domain.clock import utc_now
from app.domain.messages import key_proof_message
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import anchoring, erasing, key_proofs, login_keys, subjects, tracker
from app.services.erasure_reports import Report
from app.services.subjects import Subject
from tests.integration.services.lab import Lab, Owner

DEEP_ENOUGH = 7


@dataclass(frozen=True)
class Member:
    """Somebody with a user id, whose wallet's key logs in as well."""

    owner: Owner = field(default_factory=Owner)
    user_id: str = field(default_factory=lambda: secrets.token_hex(12))

    def join(self) -> Member:
        """Registers the login key, the way older clients do."""
        login_keys.register(self.user_id, self.owner.public_key_hex, None)
        return self

    def subject(self, later: int = 0) -> Subject:
        """Who a token names that was issued now, or so many seconds later."""
        return subject_of(self.user_id, later)

    def erase(self, later: int = 0) -> Report:
        return erasing.request(self.subject(later))

    @property
    def traces(self) -> list[str]:
        """What must not be found anywhere once they are erased."""
        return [self.user_id, self.owner.address, self.owner.public_key_hex]


def subject_of(name: str, later: int = 0) -> Subject:
    """Who a token with this `sub` names."""
    return subjects.of_token({"sub": name, "iat": int(utc_now().timestamp()) + later})


def prove(subject: Subject, owner: Owner) -> None:
    """Shows that a key is the subject's."""
    message = key_proof_message(subject.spelled, owner.public_key_hex)
    key_proofs.prove(subject, owner.public_key_hex, owner.sign(message))


def hand_on(lab: Lab, uid: str, seller: Owner, buyer: Owner) -> AuthenticationRecord:
    """Transfers a patch for certain."""
    head = head_of(uid)
    record = lab.transfer(head, seller, buyer, uid).record
    anchoring.anchor([lab.reload(record)])
    return lab.reload(record)


def head_of(uid: str) -> str:
    """The head of a patch."""
    state = PatchState.find(uid)
    assert state is not None
    return str(state.head)


def bury(lab: Lab) -> None:
    """Lets everything that is on the chain become final."""
    lab.mine(DEEP_ENOUGH)
    for _ in range(3):
        lab.pass_time()
        tracker.track()
    left = ChainTransaction.objects(status__in=["accepted", "mined"]).count()
    assert left == 0, f"{left} transactions are not final"


def sweep_erasures(lab: Lab) -> None:
    """Does what beat does for erasures, after a while."""
    lab.collection("erasures").update_many(
        {"next_attempt_at": {"$ne": None}}, {"$set": {"next_attempt_at": utc_now()}}
    )
    erasing.sweep()


def latest(member: Member) -> Report:
    """How a member's erasure stands, asked with the token that has asked for it."""
    return member.erase(-1)


def counts(report: Report) -> dict[str, int]:
    """How many of what were erased."""
    return {each.what: each.count for each in report.erased}


def remaining(report: Report) -> dict[str, int]:
    """How many of what remain."""
    return {each.what: each.count for each in report.remains}


def everything(lab: Lab) -> Iterator[tuple[str, Any]]:
    """Every value in the database, with where it stands; the chain's bytes are apart."""
    database = lab.collection("x").database
    for name in database.list_collection_names():
        for row in database[name].find({}):
            yield from _values(f"{name}.{row['_id']}", row)


def _values(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _values(f"{path}.{name}", each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _values(f"{path}.{index}", each)
    else:
        yield path, value


def places_of(lab: Lab, *traces: str) -> list[str]:
    """Where in the database one of these texts stands."""
    return [
        path
        for path, value in everything(lab)
        if any(
            trace in value if isinstance(value, str) else trace.encode() in value
            for trace in traces
            if isinstance(value, str | bytes)
        )
    ]
