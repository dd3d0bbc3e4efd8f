"""Lets owners prove that a patch is theirs and read what is meant for them."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer, iso_timestamp
from app.api.authentication import API_KEY
from app.api.limits import WRITING
from app.api.routing import route
from app.api.schemas.unlocking import Challenge, UidPath, UnlockBody, UnlockedAnswer
from app.services import unlocking as service

unlocking = APIBlueprint(
    "unlocking", __name__, url_prefix="/v1/patches", abp_tags=[Tag(name="Unlocking")]
)


@route(
    unlocking,
    "POST",
    "/<uid:uid_tag_id>/unlock-challenge",
    authentication=API_KEY,
    responses={200: Challenge},
    errors=(400, 404, 503),
    limits=(WRITING,),
)
def create_challenge(path: UidPath) -> Response:
    """Make a nonce for the owner to sign

    Good for one unlocking of this patch, until `expiresAt`.
    """
    challenge = service.create_challenge(path.uid_tag_id)
    return answer({"nonce": challenge.nonce, "expiresAt": iso_timestamp(challenge.expires_at)})


@route(
    unlocking,
    "POST",
    "/<uid:uid_tag_id>/unlock-content",
    authentication=API_KEY,
    responses={200: UnlockedAnswer},
    errors=(400, 403, 404, 413, 503),
    limits=(WRITING,),
)
def unlock_content(path: UidPath, body: UnlockBody) -> Response:
    """Check the owner's signature and open sealed content

    The owner signs `{"purpose":"unlock_content","uid_tag_id":…,"currentTxid":…,"nonce":…}`.
    With all four fields of sealed content the answer holds what was sealed; with some of them
    it is 400. Without a nonce the signature is good until the next transfer, so that is
    refused unless the operator has set `UNLOCK_ALLOW_STATIC=1`.
    """
    unlocked = service.unlock(
        uid_tag_id=path.uid_tag_id,
        public_key_hex=body.owner_public_key,
        signature_der_hex=body.owner_signature,
        nonce=body.nonce,
        sealed=body.sealed_content(),
    )
    members: dict[str, Any] = {
        "authorized": True,
        "uid_tag_id": unlocked.uid_tag_id,
        "txid": unlocked.txid,
    }
    if unlocked.content is not None:
        members["content"] = unlocked.content
    return answer(members)
