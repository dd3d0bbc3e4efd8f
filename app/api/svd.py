"""Login by key, and the keys that log in."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer, iso_timestamp
from app.api.authentication import ANYONE
from app.api.limits import PUBLIC, PUBLIC_READING, SVD_BEGIN, SVD_COMPLETE
from app.api.routing import route
from app.api.schemas.svd import (
    ChallengeAnswer,
    CompleteBody,
    KeyChanged,
    KeyNonceAnswer,
    KidAnswer,
    RegisterBody,
    RotateBody,
    TokenAnswer,
    UserBody,
)
from app.services import login, login_keys, signer_kid

svd = APIBlueprint("svd", __name__, url_prefix="/api/svd", abp_tags=[Tag(name="Login")])


@route(
    svd,
    "POST",
    "/register-challenge",
    authentication=ANYONE,
    responses={200: KeyNonceAnswer},
    errors=(400, 413, 503),
    limits=(PUBLIC, SVD_BEGIN),
)
def create_key_nonce(body: UserBody) -> Response:
    """Make a nonce for registering or replacing a key

    Good for one registration or rotation by this user, until `expiresAt`.
    """
    made = login_keys.create_nonce(body.user_id)
    return _private({"nonce": made.nonce, "expiresAt": iso_timestamp(made.expires_at)})


@route(
    svd,
    "POST",
    "/register",
    authentication=ANYONE,
    responses={201: KeyChanged},
    errors=(400, 401, 409, 413, 503),
    limits=(PUBLIC, SVD_COMPLETE),
)
def register(body: RegisterBody) -> Response:
    """Register the first key of a user

    The first key stays: 409 where the user, or the key, is known already. In production the
    request also needs a nonce of `register-challenge` and a signature by the key.
    """
    login_keys.register(body.user_id, body.public_key, body.proof())
    return answer({"success": True, "message": "the key is registered"}, 201)


@route(
    svd,
    "POST",
    "/rotate",
    authentication=ANYONE,
    responses={200: KeyChanged},
    errors=(400, 401, 409, 413, 503),
    limits=(PUBLIC, SVD_COMPLETE),
)
def rotate(body: RotateBody) -> Response:
    """Replace a user's key, signed by the old one and the new one

    Both sign the same nonce of `register-challenge`. Challenges that were begun before stay
    good for the new key only.
    """
    login_keys.rotate(
        body.user_id,
        body.new_public_key,
        nonce=body.nonce,
        signature_der_hex=body.signature,
        new_signature_der_hex=body.new_signature,
    )
    return answer({"success": True, "message": "the new key is in force"})


@route(
    svd,
    "POST",
    "/begin",
    authentication=ANYONE,
    responses={200: ChallengeAnswer},
    errors=(400, 413, 503),
    limits=(PUBLIC, SVD_BEGIN),
)
def begin(body: UserBody) -> Response:
    """Make a challenge to sign

    24 bytes in hexadecimal. The answer is the same for users who have a key and for those who
    have none, so `pmcHex` is null for everybody.
    """
    return _private({"M": login.begin(body.user_id), "pmcHex": None})


@route(
    svd,
    "POST",
    "/complete",
    authentication=ANYONE,
    responses={200: TokenAnswer},
    errors=(400, 401, 409, 413, 503),
    limits=(PUBLIC, SVD_COMPLETE),
)
def complete(body: CompleteBody) -> Response:
    """Exchange a signed challenge for a token

    A challenge gives one token: the second use answers 409 `SVD_REPLAYED`. A wrong signature
    leaves the challenge good, five of them end it. The token is good for 15 minutes.
    """
    return _private({"token": login.complete(body.user_id, body.challenge, body.signature)})


@route(
    svd,
    "GET",
    "/kid",
    authentication=ANYONE,
    responses={200: KidAnswer},
    errors=(503,),
    limits=(PUBLIC_READING,),
)
def show_kid() -> Response:
    """Name the signer's key in use

    It stands in the header of new tokens. Good for five minutes.
    """
    response = answer({"kid": signer_kid.active()})
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


def _private(members: dict[str, object]) -> Response:
    """An answer that nobody on the way may keep."""
    response = answer(members)
    response.headers["Cache-Control"] = "no-store"
    return response
