"""The code that was last mailed to an address, or is to be mailed; the code itself is not here.

`turn_id` changes with every request and with every try to send. Each write names the turn that it
continues, so whoever is overtaken by a newer request, or slept through its lease, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from bson import ObjectId
from mongoengine import DateTimeField, IntField, ObjectIdField, StringField
from pymongo.errors import DuplicateKeyError

from app.domain.clock import utc_now
from app.domain.states import CODE_MOVES, CodeEvent, CodeStatus
from app.models.base import StatefulDocument

LIFE = timedelta(minutes=15)


class VerificationCode(StatefulDocument):
    """One address and its one code. Gone by itself when its time is over."""

    identifier = StringField(required=True)
    status = StringField(required=True)
    turn_id = ObjectIdField(required=True)
    # From the moment at which the mail may arrive until the code is used or certainly not sent.
    code_hash = StringField()
    # Submits for this code, right or wrong.
    attempts = IntField(default=0)
    # Tries to send that were begun.
    sends = IntField(default=0)
    next_attempt_at = DateTimeField()
    requested_at = DateTimeField(required=True)
    expires_at = DateTimeField(required=True)
    reason = StringField()
    request_id = StringField()
    updated_at = DateTimeField(default=utc_now)

    moves: ClassVar = CODE_MOVES
    meta: ClassVar[dict[str, Any]] = {
        "collection": "verification_codes",
        "indexes": [
            {"fields": ["identifier"], "unique": True},
            {"fields": ["next_attempt_at"], "sparse": True},
            {"fields": ["expires_at"], "expireAfterSeconds": 0},
        ],
    }

    @property
    def is_to_be_sent_by(self) -> datetime:
        """A code that comes much later than it was asked for helps nobody."""
        return self.requested_at + LIFE

    def is_due(self, now: datetime) -> bool:
        """Tells whether it may be claimed for sending."""
        if self.status == CodeStatus.REQUESTED and self.sends == 0:
            # Asked for a moment ago, by whatever clock.
            return True
        waits = self.status in (CodeStatus.REQUESTED, CodeStatus.SENDING)
        return waits and self.next_attempt_at is not None and self.next_attempt_at <= now

    def is_live(self, now: datetime) -> bool:
        """Tells whether a code may still be submitted."""
        can_be_used = self.status in (CodeStatus.SENDING, CodeStatus.SENT)
        return can_be_used and self.code_hash is not None and self.expires_at > now

    @classmethod
    def request(cls, identifier: str, now: datetime, request_id: str | None) -> ObjectId:
        """Has a code sent to an address, in place of any that it has; answers the document's id.

        Raises:
            DuplicateKeyError: others ask for the same new address again and again.
        """
        collection = cls._get_collection()
        change = _requested(now, request_id)
        try:
            collection.update_one({"identifier": identifier}, change, upsert=True)
        except DuplicateKeyError:
            # Somebody has asked for the same new address meanwhile: it is there by now.
            collection.update_one({"identifier": identifier}, change)
        row = collection.find_one({"identifier": identifier}, {"_id": 1})
        code_id: ObjectId = row["_id"]
        return code_id

    @classmethod
    def find(cls, code_id: ObjectId) -> VerificationCode | None:
        found: VerificationCode | None = cls.objects(id=code_id).first()
        return found

    @classmethod
    def find_by_identifier(cls, identifier: str) -> VerificationCode | None:
        found: VerificationCode | None = cls.objects(identifier=identifier).first()
        return found

    @classmethod
    def forget(cls, identifier: str, requested_before: datetime) -> int:
        """Deletes what is kept of an address, unless it asked for a code after that moment."""
        return int(cls.objects(identifier=identifier, requested_at__lte=requested_before).delete())

    @classmethod
    def list_due(cls, now: datetime, limit: int) -> list[VerificationCode]:
        """Lists what waits for being sent, and what somebody has not finished within the lease."""
        return list(cls.objects(next_attempt_at__lte=now).limit(limit))

    def claim(self, code_hash: str, now: datetime, lease: timedelta) -> ObjectId | None:
        """Takes the sending over, with a new code; answers the new turn, None if another was first.

        The hash is there before the mail is, so a mail that arrives always works.
        """
        turn_id = ObjectId()
        won = self._in_this_turn().transition(
            CodeEvent.CLAIMED,
            set__turn_id=turn_id,
            set__code_hash=code_hash,
            set__attempts=0,
            inc__sends=1,
            set__next_attempt_at=now + lease,
            set__expires_at=now + LIFE,
        )
        return turn_id if won else None

    @classmethod
    def mark_sent(cls, code_id: ObjectId, turn_id: ObjectId) -> bool:
        """Notes that the mail has gone out, or may have."""
        return cls._end_turn(code_id, turn_id, CodeEvent.SENT, _DONE)

    @classmethod
    def send_later(
        cls, code_id: ObjectId, turn_id: ObjectId, *, reason: str, next_attempt_at: datetime
    ) -> bool:
        """Gives a claim back whose mail has certainly not gone out."""
        changes = {
            "set__next_attempt_at": next_attempt_at,
            "set__reason": reason,
            "unset__code_hash": True,
        }
        return cls._end_turn(code_id, turn_id, CodeEvent.RETURNED, changes)

    @classmethod
    def give_up(cls, code_id: ObjectId, turn_id: ObjectId, reason: str) -> bool:
        """Ends a request whose mail has certainly not gone out: nothing can be submitted."""
        changes = {"set__reason": reason, **_OVER}
        return cls._end_turn(code_id, turn_id, CodeEvent.GIVEN_UP, changes)

    def take_attempt(self, limit: int, now: datetime) -> bool:
        """Counts a submit before it is looked at; False when the code has had `limit` of them.

        So however many come at once, no code is compared more than `limit` times.
        """
        mine = self._in_this_turn().filter(attempts__lt=limit, expires_at__gt=now)
        return bool(mine.update_one(inc__attempts=1))

    def use(self) -> bool:
        """Uses the code up; True for one caller only."""
        return bool(self._in_this_turn().transition(CodeEvent.USED, **_OVER))

    def _in_this_turn(self) -> Any:
        return VerificationCode.objects(id=self.id, turn_id=self.turn_id)

    @classmethod
    def _end_turn(
        cls, code_id: ObjectId, turn_id: ObjectId, event: CodeEvent, changes: Mapping[str, Any]
    ) -> bool:
        return bool(cls.objects(id=code_id, turn_id=turn_id).transition(event, **changes))


_DONE: Mapping[str, Any] = {"unset__next_attempt_at": True, "unset__reason": True}
_OVER: Mapping[str, Any] = {"unset__next_attempt_at": True, "unset__code_hash": True}


def _requested(now: datetime, request_id: str | None) -> dict[str, Any]:
    return {
        "$set": {
            "status": CODE_MOVES[CodeEvent.REPLACED].target,
            "turn_id": ObjectId(),
            "attempts": 0,
            "sends": 0,
            "next_attempt_at": now,
            "requested_at": now,
            "expires_at": now + LIFE,
            "request_id": request_id,
            "updated_at": now,
        },
        "$unset": {"code_hash": 1, "reason": 1},
    }
