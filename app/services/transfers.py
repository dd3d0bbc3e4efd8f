"""Hands a patch to a new owner, on the present owner's signed word."""

from __future__ import annotations

import os

from app import extensions, logs
from app.bitcoin.keys import PublicKey
from app.domain.clock import unix_milliseconds, utc_now
from app.domain.messages import digest, transfer_message
from app.domain.records import RecordKind
from app.errors import NotFoundError, NotOwnerError, OwnerSignatureError, PatchMovedError
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord, CustodyField
from app.services.submission import Submission, submit


def transfer(
    *, head: str, new_owner: str, signature_der_hex: str, public_key_hex: str
) -> Submission:
    """Accepts the transfer of the patch whose current head is `head`, written as it was signed.

    The arguments are well formed already: a strict low-S signature, a compressed key, an address of
    our network.

    Raises:
        NotFoundError: no confirmed record has this head.
        PatchMovedError: the patch has another head by now, or a transfer of it is under way.
        NotOwnerError: the key is not the owner's.
        OwnerSignatureError: the signature is not over this transfer.
        UnavailableError: in synchronous mode, when it can't be anchored now.
    """
    current = AuthenticationRecord.find_confirmed(head.lower())
    state = PatchState.find(current.uid_tag_id) if current else None
    if current is None or state is None:
        raise NotFoundError(f"no confirmed record has the txid {head}")
    if state.head != current.head:
        raise PatchMovedError("the patch has been transferred since; ask for its current txid")
    key = PublicKey.from_hex(public_key_hex)
    _check_owner(state, key)
    message = transfer_message(current.uid_tag_id, head, new_owner)
    if not key.verify(bytes.fromhex(signature_der_hex), digest(message)):
        raise OwnerSignatureError("currentOwnerSignature does not sign this transfer")
    return submit(
        _record(current, new_owner, key, signature_der_hex.lower(), head),
        PatchMovedError("a transfer of this txid has been accepted already"),
    )


def _check_owner(state: PatchState, key: PublicKey) -> None:
    network = extensions.get().settings.woc_network
    if key.address(network) != state.owner:
        raise NotOwnerError("currentOwnerPubKey is not the key of the patch's current owner")


def _record(
    current: AuthenticationRecord, new_owner: str, key: PublicKey, signature_hex: str, head: str
) -> AuthenticationRecord:
    now = utc_now()
    return AuthenticationRecord(
        kind=RecordKind.TRANSFER.value,
        uid_tag_id=current.uid_tag_id,
        active_key=f"xfer:{current.head}",
        product=current.product,
        metadata=current.metadata,
        metadata_sha256=current.metadata_sha256,
        owner=new_owner,
        ts=unix_milliseconds(now),
        custody=CustodyField(
            prev_txid=current.head,
            signed_txid=head,
            current_owner_pubkey=key.to_hex(),
            current_owner_signature=signature_hex,
        ),
        salt=os.urandom(16),
        request_id=logs.request_id.get(),
        created_at=now,
        updated_at=now,
    )
