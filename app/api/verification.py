"""Tells anyone whether a patch is authentic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from werkzeug.exceptions import HTTPException

from app.api.answers import answer, iso_timestamp
from app.api.authentication import ANYONE
from app.api.errors import answer_error
from app.api.limits import READING
from app.api.routing import route
from app.api.schemas.unlocking import UidPath
from app.api.schemas.verification import (
    VerificationAnswer,
    VerificationFailed,
    VerificationNotFound,
)
from app.errors import InvalidInputError, NotFoundError
from app.services import verification as service
from app.services.verification import BatchProof

verification = APIBlueprint(
    "verification", __name__, url_prefix="/v1/patches", abp_tags=[Tag(name="Verification")]
)


@route(
    verification,
    "GET",
    "/verify/<uid:uid_tag_id>",
    authentication=ANYONE,
    responses={200: VerificationAnswer, 404: VerificationNotFound, 500: VerificationFailed},
    errors=(400, 503),
    limits=(READING,),
)
def verify(path: UidPath) -> Response:
    """Tell whether a patch is authentic

    Checks the whole line of custody against the issuer's pinned keys and the transactions.
    `compromised` comes with `findings`; it is an answer, so its status is 200 too.
    """
    result = service.verify(path.uid_tag_id)
    return answer(
        {
            "status": result.status,
            "record": result.record,
            "metadata_sha256": result.metadata_sha256,
            "verificationDetails": {
                "issuerSignatureValid": result.issuer_signature_valid,
                "movedBy": result.moved_by,
                "onChainTxid": result.head,
                "anchorTxid": result.anchor_txid,
                "batch": None if result.batch is None else _batch(result.batch),
                "metadata_sha256": result.metadata_sha256,
                "blockHeight": result.block_height,
                "confirmations": result.confirmations,
                "findings": result.findings,
                "erased": [
                    {
                        "txid": each.head,
                        "parts": each.pieces,
                        "erasedAt": None
                        if each.erased_at is None
                        else iso_timestamp(each.erased_at),
                    }
                    for each in result.erased
                ],
            },
        }
    )


def _batch(proof: BatchProof) -> Mapping[str, Any]:
    return {
        "merkleRoot": None if proof.merkle_root is None else proof.merkle_root.hex(),
        "merklePath": [sibling.hex() for sibling in proof.place.siblings],
        "leafIndex": proof.place.index,
        "leafCount": proof.place.size,
    }


@verification.errorhandler(Exception)
def answer_failure(error: Exception) -> Response:
    """Failures of verify tell their kind in `status` as well, where its clients look."""
    if isinstance(error, (InvalidInputError, HTTPException)):
        return answer_error(error)
    return answer_error(error, status="not_found" if isinstance(error, NotFoundError) else "error")
