"""Public vectors from the folder that PATCHPROOF_VECTORS names; see conftest for when they run."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from app.bitcoin.errors import InvalidSignatureError
from app.bitcoin.hashes import sha256
from app.bitcoin.interpreter import verify_input_scripts
from app.bitcoin.keys import PublicKey
from app.bitcoin.merkle import MerklePath
from app.bitcoin.sighash import sighash
from app.bitcoin.signatures import parse_signature_der
from app.bitcoin.transactions import Transaction, TxOutput

FOLDER = Path(os.environ["PATCHPROOF_VECTORS"])


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


SIGNATURES = [
    pytest.param(group["publicKeyDer"], case, id=f"{case['tcId']}")
    for group in load("wycheproof_ecdsa_secp256k1_sha256_bitcoin.json")["testGroups"]
    for case in group["tests"]
]
SIGHASHES = load("sighash_bip143.json")[1:]
PATHS = load("bump_beef.json")


def public_key_of(der_hex: str) -> PublicKey:
    key = load_der_public_key(bytes.fromhex(der_hex))
    assert isinstance(key, EllipticCurvePublicKey)
    return PublicKey.from_bytes(key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))


def is_accepted(public_key: PublicKey, signature_hex: str, digest: bytes) -> bool:
    try:
        signature = parse_signature_der(signature_hex)
    except InvalidSignatureError:
        assert not public_key.verify(bytes.fromhex(signature_hex), digest)
        return False
    return public_key.verify(signature, digest)


def test_the_public_sets_are_complete() -> None:
    assert len(SIGNATURES) == 463
    assert len(SIGHASHES) == 500


@pytest.mark.parametrize(("public_key_der", "case"), SIGNATURES)
def test_wycheproof_signatures(public_key_der: str, case: dict[str, Any]) -> None:
    digest = sha256(bytes.fromhex(case["msg"]))
    is_valid = is_accepted(public_key_of(public_key_der), case["sig"], digest)
    assert is_valid == (case["result"] == "valid")


@pytest.mark.parametrize("row", SIGHASHES, ids=range(len(SIGHASHES)))
def test_sighashes_of_every_type(row: list[Any]) -> None:
    raw_tx_hex, script, index, sighash_type, expected = row
    transaction = Transaction.from_hex(raw_tx_hex)
    assert transaction.to_hex() == raw_tx_hex
    spent = TxOutput(0, bytes.fromhex(script))
    inputs = tuple(replace(tx_input, spent=spent) for tx_input in transaction.inputs)
    digest = sighash(replace(transaction, inputs=inputs), index, sighash_type)
    assert digest[::-1].hex() == expected


def test_merkle_path_of_brc_74() -> None:
    vector = PATHS["bump"]
    path = MerklePath.from_hex(vector["hex"])
    assert path.to_hex() == vector["hex"]
    assert [path.tx_index(txid) for txid in path.txids] == vector["tx_offsets"]
    assert {path.root(txid) for txid in path.txids} == {vector["merkle_root"]}


def test_path_and_transactions_of_brc_62() -> None:
    vector = PATHS["beef"]
    # version, one path, its bytes, two transactions: the first with the path's index behind it.
    path_hex, _, rest = vector["hex"].removeprefix("0100beef01").partition("0201000000")
    parent_hex, _, child_hex = ("01000000" + rest).partition("0100" + "01000000")
    path = MerklePath.from_hex(path_hex)
    assert path.block_height == vector["block_height"]
    assert path.root(vector["parent_txid"]) == vector["merkle_root"]
    parent = Transaction.from_hex(parent_hex)
    child = Transaction.from_hex(("01000000" + child_hex).removesuffix("00"))
    assert (parent.txid, child.txid) == (vector["parent_txid"], vector["child_txid"])
    spent = parent.outputs[child.inputs[0].outpoint.vout]
    verify_input_scripts(replace(child, inputs=(replace(child.inputs[0], spent=spent),)))
