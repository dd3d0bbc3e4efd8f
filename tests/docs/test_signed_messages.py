"""The vectors on the page about signed messages are what the code, and the client, make."""

from __future__ import annotations

import json
from inspect import getmembers, isfunction
from pathlib import Path

import pytest

import patchproof_client.messages as client_messages
from app.bitcoin.keys import PrivateKey
from app.domain import messages
from app.domain.batch_tree import BatchTree
from app.domain.canonical import canonical_json, sha256_hex
from app.domain.envelope import Envelope, Kind, batch_payload, commitment_payload, record_digest
from patchproof_client import Network, OwnerKey
from tests.docs.pages import ROOT, Page

PAGE = Page(ROOT / "docs" / "api" / "signed-messages.md")


def list_vectors(first: str) -> list[dict[str, str]]:
    """The vectors of the page that begin with this name."""
    rows = [
        dict(line.split("  ", 1) for line in block.lines)
        for block in PAGE.blocks
        if block.text.startswith(f"{first} ")
    ]
    return [{name: value.strip() for name, value in each.items()} for each in rows]


SIGNED = list_vectors("key")
# By what a message says of its purpose: the members that its builder is given, in their order.
BUILDERS = {
    "register_patch": ("registration_message", ("uid_tag_id", "metadata_sha256", "ts")),
    "transfer_patch": (
        "transfer_endorsement_message",
        ("uid_tag_id", "metadata_sha256", "prev_txid", "owner", "ts"),
    ),
    "transfer_ownership": (
        "transfer_message",
        ("uid_tag_id", "currentTxid", "newOwnerAddress"),
    ),
    "unlock_content": ("unlock_message", ("uid_tag_id", "currentTxid", "nonce")),
    "claim": ("claim_message", ("uid", "addr", "ts", "nonce")),
    "register_svd_key": ("key_registration_message", ("userId", "pmcHex", "nonce")),
    "rotate_svd_key": ("key_rotation_message", ("userId", "newPmcHex", "nonce")),
    "prove_privacy_key": ("key_proof_message", ("subject", "pubKey")),
}
# What the client signs; the issuer's messages are none of its business.
OF_CLIENTS = {
    name for name, _ in getmembers(client_messages, isfunction) if name.endswith("_message")
}


def read_members(message: str) -> dict[str, str | int]:
    if message.startswith("{"):
        members: dict[str, str | int] = json.loads(message)
        return members
    said = dict(part.split(":", 1) for part in message.split("|")[1:])
    return {**said, "ts": int(said["ts"]), "purpose": "claim"}


@pytest.mark.parametrize("vector", SIGNED, ids=range(len(SIGNED)))
def test_a_message_is_built_hashed_and_signed_as_the_page_shows(vector: dict[str, str]) -> None:
    message = vector["message"].encode()
    members = read_members(vector["message"])
    name, needed = BUILDERS[str(members["purpose"])]
    values = [members[each] for each in needed]

    assert getattr(messages, name)(*values) == message
    if name in OF_CLIENTS:
        assert getattr(client_messages, name)(*values) == message
    assert messages.digest(message).hex() == vector["sha256"]
    key = PrivateKey.from_hex(vector["key"])
    assert key.sign(messages.digest(message)).hex() == vector["signature"]
    assert OwnerKey.from_hex(vector["key"], Network.MAIN).sign(message) == vector["signature"]
    assert messages.is_signed_by(key.public_key.to_hex(), vector["signature"], message)


def test_every_message_that_is_signed_has_a_vector() -> None:
    signed = {BUILDERS[str(read_members(each["message"])["purpose"])][0] for each in SIGNED}
    assert signed == {
        name for name, _ in getmembers(messages, isfunction) if name.endswith("_message")
    }


def test_the_keys_of_the_vectors_are_those_that_the_page_names() -> None:
    for key in sorted({each["key"] for each in SIGNED}):
        assert f"{key}\n{PrivateKey.from_hex(key).public_key.to_hex()}" in PAGE.text
    first = OwnerKey.from_hex(SIGNED[0]["key"], Network.MAIN)
    assert f"the first has the address `{first.address}`" in PAGE.text


def test_the_envelope_commits_to_the_record_of_the_page() -> None:
    [vector] = list_vectors("record")
    record = json.loads(vector["record"])
    auth = record["auth"]

    assert canonical_json(record).decode() == vector["record"]
    assert auth["issuer_signature"] in {each["signature"] for each in SIGNED}
    assert record_digest(bytes.fromhex(vector["salt"]), record) == vector["digest"]
    payload = commitment_payload(
        vector["digest"], auth["issuer_pubkey"], auth["issuer_signature"], None
    )
    assert payload.decode() == vector["payload"]
    script = Envelope(Kind.REGISTRATION, payload).to_locking_script()
    assert script.hex() == vector["script"]


def test_the_batch_of_the_page_is_a_tree_of_its_digests() -> None:
    [vector] = list_vectors("digest 0")
    tree = BatchTree.of([bytes.fromhex(vector[f"digest {number}"]) for number in range(3)])

    paths = [" ".join(each.hex() for each in place.siblings) for place in tree.places()]
    assert paths == [vector[f"path {number}"] for number in range(3)]
    payload = batch_payload(tree.root, tree.size)
    assert payload.decode() == vector["payload"]
    assert Envelope(Kind.BATCH, payload).to_locking_script().hex() == vector["script"]


def test_the_metadata_of_the_page_has_the_hash_that_is_signed() -> None:
    assert "The metadata is `" in PAGE.text
    metadata = json.loads(PAGE.text.split("The metadata is `")[1].split("`")[0])
    hashes = {read_members(each["message"]).get("metadata_sha256") for each in SIGNED} - {None}
    assert hashes == {sha256_hex(canonical_json(metadata))}


def test_the_page_has_the_vectors_of_the_contract() -> None:
    shared = json.loads(Path(ROOT, "tests/vectors/signed_messages.json").read_text())
    ours = {each["sha256"]: each["signature"] for each in SIGNED}
    for name in ("registration", "transfer", "pos"):
        case = shared["cases"][name]
        assert ours[case["digest"]] == case["standard"]
