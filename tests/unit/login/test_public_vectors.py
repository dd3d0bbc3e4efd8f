"""Wycheproof's signatures through the checks of the login and of the signer's answers."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from app.bitcoin.keys import N, PublicKey
from app.clients.kms import KmsAnswerError, SignRequest, _check
from app.domain import svd
from app.errors import LoginSignatureError
from app.services import login
from app.services.login_checks import check_signature

FOLDER = Path(os.environ["PATCHPROOF_VECTORS"])
FILE = "wycheproof_ecdsa_secp256k1_sha256_bitcoin.json"
CASES = [
    pytest.param(group["publicKeyDer"], case, id=f"{case['tcId']}")
    for group in json.loads((FOLDER / FILE).read_text(encoding="utf-8"))["testGroups"]
    for case in group["tests"]
]


def public_key_of(der_hex: str) -> PublicKey:
    key = load_der_public_key(bytes.fromhex(der_hex))
    assert isinstance(key, EllipticCurvePublicKey)
    return PublicKey.from_bytes(key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))


def master_key_for(one_time_key: PublicKey, digest: bytes) -> PublicKey:
    """The master key whose one-time key for this digest is the given one: PMC = V2C - h*G."""
    h = int.from_bytes(svd.tweak(digest), "big")
    return one_time_key.add((N - h).to_bytes(32, "big"))


def test_the_public_set_is_complete() -> None:
    assert len(CASES) == 463


@pytest.mark.parametrize(("public_key_der", "case"), CASES)
def test_a_login_takes_the_valid_signatures_and_no_other(
    public_key_der: str, case: dict[str, Any]
) -> None:
    digest = hashlib.sha256(bytes.fromhex(case["msg"])).digest()
    one_time_key = public_key_of(public_key_der)
    master_key = master_key_for(one_time_key, digest)
    assert svd.one_time_key(master_key, digest) == one_time_key
    if case["result"] == "valid":
        check_signature(one_time_key, case["sig"], digest)
        login.check_signed_challenge(master_key, digest, case["sig"])
        return
    with pytest.raises(LoginSignatureError):
        check_signature(one_time_key, case["sig"], digest)
    with pytest.raises(LoginSignatureError):
        login.check_signed_challenge(master_key, digest, case["sig"])


@pytest.mark.parametrize(("public_key_der", "case"), CASES)
def test_an_answer_of_the_signer_with_them_is_taken_or_refused_whole(
    public_key_der: str, case: dict[str, Any]
) -> None:
    request = SignRequest("issuer", hashlib.sha256(bytes.fromhex(case["msg"])).digest())
    public_key = public_key_of(public_key_der)
    entry = {"signatureHex": case["sig"], "pubKeyHex": public_key.to_hex()}
    if case["result"] == "valid":
        assert _check(entry, request).signature_der == bytes.fromhex(case["sig"])
        return
    with pytest.raises(KmsAnswerError):
        _check(entry, request)
