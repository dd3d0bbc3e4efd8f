"""Bearer tokens: one algorithm, two secrets while one is being changed, bound to their login."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.errors import TokenBindingError, TokenExpiredError, TokenInvalidError
from app.services import tokens

pytestmark = pytest.mark.usefixtures("app")

SECRET = "a secret for tokens, of forty characters"
OTHER_SECRET = "another secret for tokens, also long enough"
CHALLENGE = "5d6e64ccbe0c79aa1664246b30523910ed0a98e67272af13f72b14c2e1200e03"


def sign(secret: str = SECRET, **claims: Any) -> str:
    # Far off: parametrised tokens are signed when the tests are collected, long before they run.
    exp = int(time.time()) + 86_400
    return jwt.encode({"sub": "user", "exp": exp} | claims, secret, algorithm="HS256")


def unsigned(header: dict[str, Any], **claims: Any) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part(header)}.{part({'sub': 'user', 'exp': int(time.time()) + 60} | claims)}."


def test_an_issued_token_is_verified() -> None:
    claims = tokens.verify(tokens.issue("user"))
    assert claims["sub"] == "user"
    assert claims["exp"] - claims["iat"] == 900
    assert claims["iat"] - claims["nbf"] == 30


def test_the_life_of_a_token_can_be_chosen() -> None:
    claims = tokens.verify(tokens.issue("user", ttl_seconds=5))
    assert claims["exp"] - claims["iat"] == 5


def test_header_is_that_of_the_contract() -> None:
    assert jwt.get_unverified_header(tokens.issue("user")) == {"alg": "HS256", "typ": "JWT"}


def test_a_login_by_key_gives_the_token_of_the_contract() -> None:
    token = tokens.issue_svd(
        "507F1F77bcf86cd799439011", challenge_sha256=CHALLENGE, proof="ab" * 32, kid="svd-1"
    )
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": "svd-1"}
    claims = tokens.verify(token)
    iat = claims["iat"]
    assert claims == {
        "sub": "507F1F77bcf86cd799439011",
        "jti": CHALLENGE,
        "cnf": {"msha256": CHALLENGE, "svd_proof": "ab" * 32},
        "iat": iat,
        "nbf": iat - 30,
        "exp": iat + 900,
    }


def test_a_login_by_mail_gives_the_token_of_the_contract() -> None:
    token = tokens.issue_email("user@example.com")
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = tokens.verify(token)
    assert claims["exp"] - claims["iat"] == 86_400
    kind = {name: claims[name] for name in ("sub", "aud", "iss")}
    assert kind == {
        "sub": "user@example.com",
        "aud": "patchproof:api",
        "iss": "patchproof:auth-service",
    }
    assert "cnf" not in claims


def test_no_two_tokens_share_an_id() -> None:
    made = [tokens.issue("user"), tokens.issue("user")]
    made += [tokens.issue_email("user@example.com"), tokens.issue_email("user@example.com")]
    assert len({tokens.verify(token)["jti"] for token in made}) == len(made)


def test_expired_token_is_refused() -> None:
    with pytest.raises(TokenExpiredError):
        tokens.verify(tokens.issue("user", ttl_seconds=-1))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS256"])
def test_unsigned_token_is_refused(alg: str) -> None:
    with pytest.raises(TokenInvalidError):
        tokens.verify(unsigned({"alg": alg, "typ": "JWT"}))


def test_token_of_an_asymmetric_algorithm_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    token = jwt.encode({"sub": "user", "exp": int(time.time()) + 60}, pem, algorithm="RS256")
    with pytest.raises(TokenInvalidError):
        tokens.verify(token)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_token_of_another_hash_is_refused(algorithm: str) -> None:
    claims = {"sub": "user", "exp": int(time.time()) + 60}
    with pytest.raises(TokenInvalidError):
        tokens.verify(jwt.encode(claims, SECRET, algorithm=algorithm))


@pytest.mark.parametrize(
    "token",
    [
        sign(OTHER_SECRET),
        sign()[:-2],
        sign() + "a",
        "",
        "a.b",
        "a.b.c",
        "é.é.é",
        "." * 5000,
        sign(nbf=int(time.time()) + 43_200),
        sign(exp="soon"),
        sign(exp=None),
        sign(sub=7),
    ],
    ids=[
        "secret",
        "truncated",
        "longer",
        "empty",
        "two parts",
        "no base64",
        "no ascii",
        "dots",
        "not yet",
        "exp text",
        "exp null",
        "sub",
    ],
)
def test_token_that_is_not_valid_is_refused(token: str) -> None:
    with pytest.raises(TokenInvalidError):
        tokens.verify(token)


def test_token_without_an_end_is_refused() -> None:
    with pytest.raises(TokenInvalidError):
        tokens.verify(jwt.encode({"sub": "user"}, SECRET, algorithm="HS256"))


def test_other_audiences_are_accepted() -> None:
    token = sign(aud="patchproof:api", iss="patchproof:auth-service")
    assert tokens.verify(token)["aud"] == "patchproof:api"


def test_previous_secret_is_accepted_while_it_is_set(make_app: Any) -> None:
    with pytest.raises(TokenInvalidError):
        tokens.verify(sign(OTHER_SECRET))
    make_app(JWT_SECRET_PREVIOUS=OTHER_SECRET)
    assert tokens.verify(sign(OTHER_SECRET))["sub"] == "user"
    assert tokens.verify(sign(SECRET))["sub"] == "user"
    with pytest.raises(TokenExpiredError):
        tokens.verify(sign(OTHER_SECRET, exp=int(time.time()) - 5))


def test_new_tokens_use_the_present_secret(make_app: Any) -> None:
    make_app(JWT_SECRET_PREVIOUS=OTHER_SECRET)
    assert jwt.decode(tokens.issue("user"), SECRET, algorithms=["HS256"])["sub"] == "user"


@pytest.mark.parametrize("jti", [CHALLENGE, CHALLENGE.upper()], ids=["same", "other case"])
def test_token_bound_to_its_login_is_accepted(jti: str) -> None:
    claims = tokens.verify(sign(jti=jti, cnf={"msha256": CHALLENGE, "svd_proof": "00" * 32}))
    assert claims["jti"] == jti


@pytest.mark.parametrize(
    "claims",
    [
        {"cnf": {"msha256": CHALLENGE}},
        {"cnf": {"msha256": CHALLENGE}, "jti": "ff" * 32},
        {"cnf": {"msha256": CHALLENGE}, "jti": CHALLENGE[:-1]},
        {"cnf": {"msha256": "short"}, "jti": "short"},
        {"cnf": {"msha256": "g" * 64}, "jti": "g" * 64},
        {"cnf": {"msha256": 7}, "jti": "7"},
        {"cnf": {"msha256": None}, "jti": "None"},
    ],
    ids=["no jti", "other", "shorter", "short", "no hex", "number", "null"],
)
def test_token_not_bound_to_its_login_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenBindingError):
        tokens.verify(sign(**claims))


@pytest.mark.parametrize("cnf", [{}, {"jkt": "x"}, "text", None, []], ids=repr)
def test_token_without_a_login_is_an_ordinary_one(cnf: Any) -> None:
    assert tokens.verify(sign(cnf=cnf, jti="anything"))["sub"] == "user"
