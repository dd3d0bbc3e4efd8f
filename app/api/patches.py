"""Registers patches, hands them on, and tells how far a record is."""

from __future__ import annotations

from typing import Any

from flask import Response, url_for
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer, certificate_url, iso_timestamp
from app.api.authentication import ANYONE, API_KEY, BEARER
from app.api.idempotency import IdempotencyHeader, mark_replayed, repeatable
from app.api.limits import POLLING, WRITING
from app.api.routing import route
from app.api.schemas.patches import (
    Accepted,
    PendingPath,
    PendingRegistration,
    PendingTransfer,
    Registered,
    RegistrationBody,
    TransferBody,
    TransferPath,
    Transferred,
)
from app.domain.states import RecordStatus
from app.models.record import AuthenticationRecord
from app.services import records, registration, transfers
from app.services.submission import Submission

patches = APIBlueprint(
    "patches", __name__, url_prefix="/v1/patches", abp_tags=[Tag(name="Patches")]
)


@route(
    patches,
    "POST",
    "",
    authentication=API_KEY,
    responses={201: Registered, 202: Accepted},
    errors=(400, 409, 413, 422, 503),
    limits=(WRITING,),
)
def register(header: IdempotencyHeader, body: RegistrationBody) -> Response:
    """Register a patch

    202 where records are anchored in the background: `pendingId` and the header Location tell
    how far it is. 201 where the answer waits for the network. A uid is registered once: 409
    tells of an earlier registration, whose owner stays. With an Idempotency-Key the same
    request can be sent again after a lost answer.
    """
    content: dict[str, Any] = {
        "product": dict(body.product),
        "metadata": dict(body.metadata),
        "owner": body.auth["owner"],
    }
    submission = registration.register(**content, request=repeatable(header, content))
    response = _registered(submission)
    return mark_replayed(response) if submission.is_replayed else response


def _registered(submission: Submission) -> Response:
    record = submission.record
    if not submission.is_final:
        return _accepted(submission, "patches.pending_registration", "the patch will be anchored")
    return answer(
        {
            "message": "the patch is registered",
            "txid": record.head,
            "certificateUrl": certificate_url(record.metadata_sha256, record.head),
        },
        201,
    )


@route(
    patches,
    "POST",
    "/<txid>/transfer-ownership",
    authentication=BEARER,
    responses={200: Transferred, 202: Accepted},
    errors=(400, 403, 404, 409, 413, 422, 503),
    limits=(WRITING,),
)
def transfer(header: IdempotencyHeader, path: TransferPath, body: TransferBody) -> Response:
    """Hand a patch to a new owner

    The owner signs
    `{"purpose":"transfer_ownership","uid_tag_id":…,"currentTxid":…,"newOwnerAddress":…}`, so a
    signature continues one head and works once. Any valid token opens the route; who may move
    the patch is decided by the signature alone. 409 where the patch has moved on, or another
    transfer of this head is under way.
    """
    content = {
        "head": path.txid,
        "new_owner": body.new_owner_address,
        "signature_der_hex": body.current_owner_signature,
        "public_key_hex": body.current_owner_public_key,
    }
    submission = transfers.transfer(**content, request=repeatable(header, content))
    response = _transferred(submission)
    return mark_replayed(response) if submission.is_replayed else response


def _transferred(submission: Submission) -> Response:
    if not submission.is_final:
        return _accepted(submission, "patches.pending_transfer", "the transfer will be anchored")
    return answer({"message": "the patch has a new owner", "newTxid": submission.record.head})


@route(
    patches,
    "GET",
    "/pending/registration/<record_id>",
    authentication=ANYONE,
    responses={200: PendingRegistration},
    errors=(400, 404, 503),
    limits=(POLLING,),
)
def pending_registration(path: PendingPath) -> Response:
    """Tell how far a registration is

    `pending` and `anchoring` end in `confirmed` or `failed` without further calls; `error`
    says what it waits for or why it failed.
    """
    record = records.get_record(path.record_id)
    is_confirmed = record.status == RecordStatus.CONFIRMED
    # Until then the transaction may still be replaced, and a certificate would name the wrong one.
    url = certificate_url(record.metadata_sha256, record.head) if is_confirmed else None
    return answer({**_pending(record), "certificateUrl": url})


@route(
    patches,
    "GET",
    "/pending/transfer/<record_id>",
    authentication=ANYONE,
    responses={200: PendingTransfer},
    errors=(400, 404, 503),
    limits=(POLLING,),
)
def pending_transfer(path: PendingPath) -> Response:
    """Tell how far a transfer is

    As for registrations; either path answers for either kind.
    """
    return answer(_pending(records.get_record(path.record_id)))


def _accepted(submission: Submission, pending_endpoint: str, message: str) -> Response:
    record = submission.record
    response = answer(
        {
            "message": message,
            "jobId": submission.job_id,
            "uid_tag_id": record.uid_tag_id,
            "pendingId": str(record.id),
        },
        202,
    )
    response.headers["Location"] = url_for(pending_endpoint, record_id=str(record.id))
    return response


def _pending(record: AuthenticationRecord) -> dict[str, Any]:
    return {
        "id": str(record.id),
        "uid_tag_id": record.uid_tag_id,
        "status": record.status,
        "txid": record.head,
        "error": record.reason,
        "created_at": iso_timestamp(record.created_at),
        "updated_at": iso_timestamp(record.updated_at),
    }
