"""The client's side of a login by key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.keys import PublicKey
from app.domain.svd import challenge_digest, one_time_key
from patchproof_client import Network, OwnerKey, svd
from patchproof_client.keys import ORDER
from patchproof_client.svd import UnusableChallengeError

[VECTOR, _] = json.loads(
    Path(__file__).parents[2].joinpath("vectors/svd.json").read_text(encoding="utf-8")
)["vectors"]


def test_one_time_key_and_signature_are_those_of_the_contract() -> None:
    key = OwnerKey.from_hex(VECTOR["pmc"], Network.MAIN)
    challenge = bytes.fromhex(VECTOR["challenge"])
    assert key.public_key_hex == VECTOR["pmc_public"]
    made = svd.one_time_key(key, challenge)
    assert (made.to_hex(), made.public_key_hex) == (VECTOR["p2c"], VECTOR["v2c"])
    assert svd.sign_challenge(key, challenge) == VECTOR["signature"]


@given(st.integers(1, ORDER - 1), st.binary(min_size=24, max_size=24))
def test_the_service_accepts_every_answer(secret: int, challenge: bytes) -> None:
    key = OwnerKey(secret, Network.MAIN)
    digest = challenge_digest(challenge)
    expected = one_time_key(PublicKey.from_hex(key.public_key_hex), digest)
    assert expected.verify(bytes.fromhex(svd.sign_challenge(key, challenge)), digest)


def test_challenge_without_a_one_time_key_is_refused() -> None:
    challenge = bytes.fromhex(VECTOR["challenge"])
    h = int.from_bytes(hashlib.sha256(challenge).digest(), "big")
    with pytest.raises(UnusableChallengeError):
        svd.sign_challenge(OwnerKey(ORDER - h % ORDER, Network.MAIN), challenge)
