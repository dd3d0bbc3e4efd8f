"""Section 4: the mathematics of a login by key, once more from the page, and the token."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from app.bitcoin.curve import N
from app.bitcoin.keys import PrivateKey, PublicKey
from app.domain import svd
from tests.contracts.contract.people import Person
from tests.contracts.contract.wire import Wire, code_of

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors" / "svd.json").read_text("utf-8")
)["vectors"]


def hashed(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def derived(salt: bytes, material: bytes, context: bytes) -> bytes:
    """Extract, and one block of expand without the counter byte."""
    return hmac.digest(hmac.digest(salt, material, "sha256"), context, "sha256")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["challenge"])
def test_4_1_each_step_gives_the_value_of_the_vector(vector: dict[str, Any]) -> None:
    challenge = bytes.fromhex(vector["challenge"])
    pmc, pms = (PrivateKey.from_hex(vector[name]) for name in ("pmc", "pms"))
    m = hashed(challenge)
    h = int.from_bytes(m, "big")

    assert svd.challenge_digest(challenge) == m
    one_time = PrivateKey.from_hex(f"{(int(vector['pmc'], 16) + h) % N:064x}")
    assert svd.one_time_key(pmc.public_key, m).to_hex() == one_time.public_key.to_hex()
    # X has no leading zero bytes.
    x = bytes.fromhex(vector["x"])
    assert x[0] != 0
    salt = hashed(
        bytes.fromhex(pms.public_key.to_hex()) + bytes.fromhex(pmc.public_key.to_hex()) + challenge
    )
    secret = derived(salt, x, b"SVD-Session")
    assert secret.hex() == vector["shared_secret"]
    assert svd.login_proof(vector["user_id"], m, secret) == vector["svd_proof"]
    proof_salt = hashed(vector["user_id"].encode("ascii") + m)
    assert derived(proof_salt, secret, b"JWT-Token").hex() == vector["svd_proof"]


def test_4_1_a_challenge_begins_with_its_time(wire: Wire) -> None:
    challenge = Person(wire).begin()

    assert abs(int(challenge[:16], 16) - time.time()) < 120


def test_4_2_the_token_is_that_of_the_contract(wire: Wire) -> None:
    person = Person(wire)
    person.register()
    challenge = person.begin()
    token = person.complete(challenge).json()["token"]
    m = hashed(bytes.fromhex(challenge)).hex()

    kid = wire.get("/api/svd/kid").json()["kid"]
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": kid}
    claims = jwt.decode(token, wire.lab.env["JWT_SECRET"], algorithms=["HS256"])
    assert set(claims) == {"sub", "jti", "cnf", "iat", "nbf", "exp"}
    assert claims["sub"] == person.user_id
    assert claims["jti"] == claims["cnf"]["msha256"] == m
    assert len(bytes.fromhex(claims["cnf"]["svd_proof"])) == 32
    assert (claims["iat"] - claims["nbf"], claims["exp"] - claims["iat"]) == (30, 900)


def test_4_2_the_subject_is_spelled_as_it_was_sent(wire: Wire) -> None:
    person = Person(wire)
    person.register()
    shouting = Person(wire, key=person.key, user_id=person.user_id.upper())

    token = shouting.log_in().json()["token"]

    assert jwt.decode(token, options={"verify_signature": False})["sub"] == shouting.user_id


@pytest.mark.parametrize(
    ("jti", "named", "status"),
    [("ab" * 32, "AB" * 32, 200), ("ab" * 32, "cd" * 32, 401), ("x", "x", 401), ("x", None, 200)],
)
def test_4_2_a_token_is_bound_to_the_challenge_that_it_names(
    wire: Wire, jti: str, named: str | None, status: int
) -> None:
    now = int(time.time())
    claims: dict[str, Any] = {"sub": "shop", "jti": jti, "iat": now, "exp": now + 60}
    if named is not None:
        claims["cnf"] = {"msha256": named}
    token = jwt.encode(claims, wire.lab.env["JWT_SECRET"], algorithm="HS256")

    response = wire.get("/v1/privacy/export", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == status
    if status == 401:
        assert code_of(response) == (401, "invalid_svd_binding")


@pytest.mark.parametrize("vector", VECTORS[:1], ids=lambda vector: vector["challenge"])
def test_4_3_the_vectors_signature_verifies_with_the_key_of_its_login(
    vector: dict[str, Any],
) -> None:
    m = bytes.fromhex(vector["m"])
    v2c = svd.one_time_key(PublicKey.from_hex(vector["pmc_public"]), m)

    assert v2c.to_hex() == vector["v2c"]
    assert v2c.verify(bytes.fromhex(vector["signature"]), m)


def test_4_3_the_second_vector_has_a_short_x() -> None:
    short = VECTORS[1]

    assert len(bytes.fromhex(short["x"])) == 31
    assert short["shared_secret"] != short["shared_secret_of_padded_x"]
