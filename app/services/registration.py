"""Registers a patch: accepts a record that nobody can register a second time."""

from __future__ import annotations

import os
from typing import Any

from app import logs
from app.domain.canonical import canonical_json, sha256_hex
from app.domain.clock import unix_milliseconds, utc_now
from app.domain.records import SALT_BYTES, RecordKind
from app.errors import PatchAlreadyRegisteredError
from app.models.record import AuthenticationRecord
from app.services.idempotency import RepeatableRequest
from app.services.submission import Submission, find_earlier, submit


def register(
    *,
    product: dict[str, Any],
    metadata: dict[str, Any],
    owner: str,
    request: RepeatableRequest | None = None,
) -> Submission:
    """Accepts the registration of a product's patch for its first owner, an address.

    The arguments are checked already. `product` has `uid_tag_id`; absent fields are left out. The
    same `request` as before is answered with what it has made then.

    Raises:
        PatchAlreadyRegisteredError: the uid has a registration that has not failed.
        IdempotencyKeyReusedError, IdempotencyInProgressError: see `find_earlier`.
        UnavailableError: in synchronous mode, when it can't be anchored now.
    """
    if (earlier := find_earlier(request)) is not None:
        return earlier
    uid_tag_id = product["uid_tag_id"]
    now = utc_now()
    record = AuthenticationRecord(
        kind=RecordKind.REGISTRATION.value,
        uid_tag_id=uid_tag_id,
        active_key=f"reg:{uid_tag_id}",
        product=product,
        metadata=metadata,
        metadata_sha256=sha256_hex(canonical_json(metadata)),
        owner=owner,
        ts=unix_milliseconds(now),
        salt=os.urandom(SALT_BYTES),
        request_id=logs.request_id.get(),
        created_at=now,
        updated_at=now,
    )
    return submit(
        record,
        PatchAlreadyRegisteredError(f"uid_tag_id {uid_tag_id} is already registered"),
        request,
    )
