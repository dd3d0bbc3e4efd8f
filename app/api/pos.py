"""The till: customers claim patches, the shop approves, whoever has the id asks how far it is."""

from __future__ import annotations

from flask import Response, url_for
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer
from app.api.authentication import ANYONE, POS_KEY
from app.api.limits import CLAIM_INTENT, POLLING, WRITING
from app.api.routing import route
from app.api.schemas.pos import (
    ClaimApproveBody,
    ClaimApproved,
    ClaimIntentAnswer,
    ClaimIntentBody,
    ClaimPath,
    ClaimStatusAnswer,
)
from app.domain.claims import Claim
from app.services import claims

pos = APIBlueprint("pos", __name__, url_prefix="/v1/pos", abp_tags=[Tag(name="Point of sale")])


@route(
    pos,
    "POST",
    "/claim-intent",
    authentication=ANYONE,
    responses={201: ClaimIntentAnswer},
    errors=(400, 401, 404, 409, 413, 503),
    limits=(CLAIM_INTENT,),
)
def create_claim(body: ClaimIntentBody) -> Response:
    """Claim a patch, as the customer who is to own it

    The customer signs `PATCHPROOF_CLAIM|uid:<uid>|addr:<address>|ts:<ms>|nonce:<nonce>`. `ts`
    may be off by `CLAIM_INTENT_TTL_MS` (three minutes) at most; a nonce and a signature work
    once.
    """
    claim = Claim(
        uid_tag_id=body.uid,
        address=body.customer["address"],
        public_key_hex=body.customer["pubKey"],
        ts=body.challenge["ts"],
        nonce=body.challenge["nonce"],
        signature_der_hex=body.signature,
    )
    intent = claims.create(claim, user_id=body.customer["userId"])
    claim_id = str(intent.id)
    response = answer({"id": claim_id, "status": intent.status}, 201)
    response.headers["Location"] = url_for("pos.tell_claim", claim_id=claim_id)
    return response


@route(
    pos,
    "POST",
    "/claim-approve",
    authentication=POS_KEY,
    responses={200: ClaimApproved},
    errors=(400, 403, 404, 409, 413, 503),
    limits=(WRITING,),
)
def approve_claim(body: ClaimApproveBody) -> Response:
    """Approve a claim, as the till that hands the product over

    Moves the patch where it belongs to one of the shop's addresses; any other needs its
    owner's signature in the request. Once only: 409 where the claim is approved, ended or
    expired.
    """
    body.require_whole_owner_word()
    approval = claims.approve(
        body.intent_id,
        approved_by=body.approved_by,
        owner_public_key_hex=body.current_owner_public_key,
        owner_signature=body.current_owner_signature,
    )
    return answer(
        {
            "id": approval.claim_id,
            "status": "approved",
            "pendingId": approval.pending_id,
            "jobId": approval.job_id,
        }
    )


@route(
    pos,
    "GET",
    "/claim-status/<claim_id>",
    authentication=ANYONE,
    responses={200: ClaimStatusAnswer},
    errors=(404, 503),
    limits=(POLLING,),
)
def tell_claim(path: ClaimPath) -> Response:
    """Tell how far a claim is

    Whoever has the id may ask, so keep it like a receipt. `txid` is there once the transfer is
    confirmed, `error` where it failed, `approvedBy` once somebody approved.
    """
    standing = claims.get_standing(path.claim_id)
    return answer(
        {
            "id": standing.claim_id,
            "status": standing.status,
            "txid": standing.txid,
            "error": standing.error,
            "approvedBy": standing.approved_by,
        }
    )
