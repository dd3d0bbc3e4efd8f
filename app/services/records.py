"""Looks a record up by the id that its acceptance answered."""

from __future__ import annotations

from bson import ObjectId

from app.errors import NotFoundError
from app.models.record import AuthenticationRecord


def get_record(record_id: str) -> AuthenticationRecord:
    """Answers the record with this id, 24 hex characters.

    Raises:
        NotFoundError: no record has it.
    """
    record: AuthenticationRecord | None = None
    if ObjectId.is_valid(record_id):
        record = AuthenticationRecord.objects(id=record_id).first()
    if record is None:
        raise NotFoundError("no record has this id")
    return record
