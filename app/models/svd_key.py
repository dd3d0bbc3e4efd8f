"""The public master key that a user logs in with, and the keys that it has replaced."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from mongoengine import (
    BooleanField,
    DateTimeField,
    EmbeddedDocumentListField,
    NotUniqueError,
    StringField,
)
from pymongo.errors import DuplicateKeyError

from app.domain.clock import utc_now
from app.models.base import StoredDocument, StoredPart

_USER_ID = "^[0-9a-f]{24}$"
_PUBLIC_KEY = "^0[23][0-9a-f]{64}$"


class DuplicateSvdKeyError(Exception):
    """The user has a key already, or another user has this key."""


class LoginKey(NamedTuple):
    """What a login asks: the key, and whether it is one no longer."""

    public_key_hex: str
    is_revoked: bool


class ReplacedKey(StoredPart):
    """A key that no longer logs in. `replaced_by` is `user`, or says which operator."""

    public_key_hex = StringField(required=True)
    registered_at = DateTimeField()
    revoked_at = DateTimeField()
    revoked_by = StringField()
    replaced_at = DateTimeField(required=True)
    replaced_by = StringField(required=True)
    is_proven = BooleanField(default=False)


class SvdKey(StoredDocument):
    """A user's login key. Its `_id` is the user id, 24 hex characters in lower case.

    The key is compressed SEC in lower-case hex, and no two users have the same.
    """

    user_id = StringField(primary_key=True, regex=_USER_ID)
    public_key_hex = StringField(required=True, regex=_PUBLIC_KEY)
    registered_at = DateTimeField(default=utc_now)
    revoked_at = DateTimeField()
    revoked_by = StringField()
    # Whether it has signed for this user when it came here. One that has not may be somebody
    # else's: whoever logs in with it shows that it is theirs.
    is_proven = BooleanField(default=False)
    history = EmbeddedDocumentListField(ReplacedKey)

    meta: ClassVar[dict[str, Any]] = {
        "collection": "svd_registry",
        "indexes": [{"fields": ["public_key_hex"], "unique": True}],
        "auto_create_index": False,
    }

    def insert(self) -> None:
        """Stores a user's first key.

        Raises:
            DuplicateSvdKeyError: the user has a key already, or another user has this one.
        """
        try:
            self.save(force_insert=True)
        except NotUniqueError as error:
            raise DuplicateSvdKeyError from error

    @classmethod
    def find_login_key(cls, user_id: str) -> LoginKey | None:
        """Answers the key as it is stored now. Every login asks this, so no document is made."""
        fields = {"public_key_hex": 1, "revoked_at": 1}
        row = cls._get_collection().find_one({"_id": user_id}, fields)
        if row is None:
            return None
        return LoginKey(row["public_key_hex"], row.get("revoked_at") is not None)

    @classmethod
    def find(cls, user_id: str) -> SvdKey | None:
        return cls.objects(user_id=user_id).first()

    def revoke(self, by: str) -> bool:
        """Ends this key at once; False when it was ended or replaced meanwhile."""
        standing = SvdKey.objects(
            user_id=self.user_id, public_key_hex=self.public_key_hex, revoked_at=None
        )
        return bool(standing.update_one(set__revoked_at=utc_now(), set__revoked_by=by))

    def replace(self, public_key_hex: str, by: str, *, is_proven: bool) -> bool:
        """Puts another key in the place of this one, and this one into the history.

        `is_proven` where both keys have signed that. False when this one was ended or replaced
        meanwhile: the history lacks nothing then.

        Raises:
            DuplicateSvdKeyError: another user has the new key.
        """
        condition = {
            "_id": self.user_id,
            "public_key_hex": self.public_key_hex,
            "revoked_at": self.revoked_at,
        }
        changes = {
            "$set": {
                "public_key_hex": public_key_hex,
                "registered_at": utc_now(),
                "is_proven": is_proven,
            },
            "$unset": {"revoked_at": "", "revoked_by": ""},
            "$push": {"history": self._replaced(by, is_proven=is_proven).to_mongo().to_dict()},
        }
        try:
            result = self._get_collection().update_one(condition, changes)
        except DuplicateKeyError as error:
            raise DuplicateSvdKeyError from error
        return bool(result.modified_count)

    @classmethod
    def remove(cls, user_id: str, public_key_hex: str, registered_before: datetime) -> bool:
        """Deletes a user's key with its history, unless it was replaced or came after a moment."""
        mine = cls.objects(
            user_id=user_id,
            public_key_hex=public_key_hex,
            registered_at__lte=registered_before,
        )
        return bool(mine.delete())

    def _replaced(self, by: str, *, is_proven: bool) -> ReplacedKey:
        return ReplacedKey(
            public_key_hex=self.public_key_hex,
            registered_at=self.registered_at,
            revoked_at=self.revoked_at,
            revoked_by=self.revoked_by,
            replaced_at=utc_now(),
            replaced_by=by,
            is_proven=is_proven or self.is_proven,
        )
