"""What is held about whoever is logged in: for them to have, and to have erased."""

from __future__ import annotations

from typing import Any

from flask import Response, g
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer, iso_timestamp
from app.api.authentication import BEARER, BEARER_EVEN_ERASED
from app.api.limits import PRIVACY
from app.api.routing import route
from app.api.schemas.privacy import (
    ErasureAnswer,
    ExportAnswer,
    ExportQuery,
    KeyProofAnswer,
    KeyProofBody,
)
from app.services import erasing, key_proofs, privacy_views, subject_exports, subjects

privacy = APIBlueprint(
    "privacy", __name__, url_prefix="/v1/privacy", abp_tags=[Tag(name="Privacy")]
)


@route(
    privacy,
    "GET",
    "/export",
    authentication=BEARER,
    responses={200: ExportAnswer},
    errors=(400,),
    limits=(PRIVACY,),
)
def export(query: ExportQuery) -> Response:
    """Hand out what is held about whoever asks, a page at a time

    `nextCursor` asks for the next page. What is listed follows the keys that the subject of
    the token has proven.
    """
    subject = subjects.of_token(g.token_claims)
    page = subject_exports.export(subject, cursor=query.cursor, limit=query.limit)
    return _private(privacy_views.export_view(page))


@route(
    privacy,
    "DELETE",
    "/delete",
    authentication=BEARER_EVEN_ERASED,
    responses={200: ErasureAnswer},
    limits=(PRIVACY,),
)
def delete() -> Response:
    """Erase what is held about whoever asks, and say what remains and why

    Can be asked again: `waiting` until everything that can go is gone. Ends every token of the
    subject, which may still ask how far it is.
    """
    subject = subjects.of_token(g.token_claims)
    return _private(privacy_views.report_view(subject.spelled, erasing.request(subject)))


@route(
    privacy,
    "POST",
    "/keys",
    authentication=BEARER,
    responses={201: KeyProofAnswer},
    errors=(400, 409, 413),
    limits=(PRIVACY,),
)
def prove_key(body: KeyProofBody) -> Response:
    """Show that a key is one's own, so that export and deletion follow what it owns

    The key signs `{"purpose":"prove_privacy_key","subject":…,"pubKey":…}`.
    """
    subject = subjects.of_token(g.token_claims)
    proof = key_proofs.prove(subject, body.pub_key, body.signature)
    return _private(
        {
            "success": True,
            "publicKey": proof.public_key_hex,
            "address": subjects.addresses([proof.public_key_hex])[0],
            "provenAt": iso_timestamp(proof.proven_at),
        },
        201,
    )


def _private(members: dict[str, Any], status: int = 200) -> Response:
    """An answer that nobody on the way may keep."""
    response = answer(members, status)
    response.headers["Cache-Control"] = "no-store"
    return response
