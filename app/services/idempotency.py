"""Requests that may be sent twice: the record that the first one stored answers the second.

The key is stored with the record, in the one write that accepts it. So there is no moment at which
a crash leaves a record without its key or a key without its record, and nothing to clean up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.canonical import canonical_json, sha256_hex
from app.domain.clock import utc_now
from app.errors import IdempotencyKeyReusedError
from app.models.record import AuthenticationRecord

LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class RepeatableRequest:
    """One try of a request whose caller may send it again: hashes of its key and of its content."""

    key_sha256: str
    content_sha256: str

    @classmethod
    def of(cls, *, key: str, caller: str, operation: str, content: Any) -> RepeatableRequest:
        """Hashes a key, which means nothing to other callers and for other operations.

        `content` is whatever the answer depends on, as JSON that was checked already.
        """
        return cls(
            sha256_hex(canonical_json([caller, operation, key])),
            sha256_hex(canonical_json(content)),
        )

    def mark(self, record: AuthenticationRecord) -> None:
        """Has a new record carry the key, so that storing it is what uses the key up."""
        record.idempotency_key = self.key_sha256
        record.request_sha256 = self.content_sha256


def find_earlier(request: RepeatableRequest) -> AuthenticationRecord | None:
    """Finds the record that this very request has made before, within a day.

    Raises:
        IdempotencyKeyReusedError: the key came with something else then.
    """
    record = AuthenticationRecord.find_by_idempotency_key(request.key_sha256)
    if record is None:
        return None
    if record.created_at <= utc_now() - LIFETIME:
        AuthenticationRecord.forget_idempotency_key(record.id, request.key_sha256)
        return None
    if record.request_sha256 != request.content_sha256:
        raise IdempotencyKeyReusedError(
            "the header Idempotency-Key came with another request before; "
            "each request needs a key of its own"
        )
    return record
