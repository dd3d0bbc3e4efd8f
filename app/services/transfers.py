"""Hands a patch to a new owner, on the present owner's signed word."""

from __future__ import annotations

import os
from datetime import datetime

from app import extensions, logs
from app.bitcoin.keys import PublicKey
from app.domain.canonical import canonical_json, sha256_hex
from app.domain.clock import unix_milliseconds, utc_now
from app.domain.messages import is_signed_by, transfer_message
from app.domain.records import SALT_BYTES, OwnerWord, RecordKind
from app.errors import NotFoundError, NotOwnerError, OwnerSignatureError, PatchMovedError
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord, CustodyField, transfer_key
from app.services.idempotency import RepeatableRequest
from app.services.submission import Submission, find_earlier, submit


def transfer(
    *,
    head: str,
    new_owner: str,
    signature_der_hex: str,
    public_key_hex: str,
    request: RepeatableRequest | None = None,
) -> Submission:
    """Accepts the transfer of the patch whose current head is `head`, written as it was signed.

    The arguments are well formed already: a strict low-S signature, a compressed key, an address of
    our network. The same `request` as before is answered with what it has made then.

    Raises:
        NotFoundError: no confirmed record has this head.
        PatchMovedError: the patch has another head by now, or a transfer of it is under way.
        NotOwnerError: the key is not the owner's.
        OwnerSignatureError: the signature is not over this transfer.
        IdempotencyKeyReusedError, IdempotencyInProgressError: see `find_earlier`.
        UnavailableError: in synchronous mode, when it can't be anchored now.
    """
    # Before anything is checked: the first try may have moved the patch.
    if (earlier := find_earlier(request)) is not None:
        return earlier
    current = AuthenticationRecord.find_confirmed(head.lower())
    state = PatchState.find(current.uid_tag_id) if current else None
    if current is None or state is None:
        raise NotFoundError("no confirmed record has this txid")
    if state.head != current.head:
        raise PatchMovedError("the patch has been transferred since; ask for its current txid")
    word = OwnerWord(head, public_key_hex.lower(), signature_der_hex.lower())
    check_owner_word(word, state, new_owner)
    custody = CustodyField(
        prev_txid=current.head,
        signed_txid=word.signed_txid,
        current_owner_pubkey=word.public_key_hex,
        current_owner_signature=word.signature_der_hex,
    )
    return submit(
        build_record(current, new_owner, custody, utc_now()),
        PatchMovedError("a transfer of this txid has been accepted already"),
        request,
    )


def check_owner_word(word: OwnerWord, state: PatchState, new_owner: str) -> None:
    """Checks that the patch's owner has signed it over to a new one; the word is well formed.

    Raises:
        NotOwnerError: the key is not the owner's.
        OwnerSignatureError: the signature is not over this transfer.
    """
    network = extensions.get().settings.woc_network
    if PublicKey.from_hex(word.public_key_hex).address(network) != state.owner:
        raise NotOwnerError("currentOwnerPubKey is not the key of the patch's current owner")
    message = transfer_message(state.uid_tag_id, word.signed_txid, new_owner)
    if not is_signed_by(word.public_key_hex, word.signature_der_hex, message):
        raise OwnerSignatureError("currentOwnerSignature does not sign this transfer")


def build_record(
    current: AuthenticationRecord, new_owner: str, custody: CustodyField, now: datetime
) -> AuthenticationRecord:
    """Makes a record that continues `current`; of all that continue it one can be stored live."""
    return AuthenticationRecord(
        kind=RecordKind.TRANSFER.value,
        uid_tag_id=current.uid_tag_id,
        active_key=transfer_key(current.head),
        product=current.product,
        metadata=current.metadata,
        # Not the one before: an older system hashed it in another form.
        metadata_sha256=sha256_hex(canonical_json(dict(current.metadata))),
        owner=new_owner,
        ts=unix_milliseconds(now),
        custody=custody,
        salt=os.urandom(SALT_BYTES),
        request_id=logs.request_id.get(),
        created_at=now,
        updated_at=now,
    )
