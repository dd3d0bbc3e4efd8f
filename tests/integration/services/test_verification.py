"""Whether a patch is authentic, asked of what is stored, which somebody may have changed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from app.bitcoin.keys import PublicKey
from app.bitcoin.transactions import Transaction, TxOutput
from app.domain.canonical import canonical_json, sha256_hex
from app.domain.custody import CustodyLink, check_line
from app.domain.envelope import Envelope, Kind, commitment_payload, record_digest
from app.domain.messages import digest, registration_message, transfer_endorsement_message
from app.errors import InconsistentStateError, NotFoundError
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import anchoring, custody_lines, history, tracker, verification
from tests.integration.services.crashes import POINTS, crashing
from tests.integration.services.lab import Lab, Owner

Tampering = Callable[[Lab], None]


@pytest.fixture
def line(lab: Lab) -> list[AuthenticationRecord]:
    """A patch that was registered and has changed hands twice."""
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(3)
    owners = [Owner() for _ in range(3)]
    records = [lab.register("NFC-1", owners[0]).record]
    for seller, buyer in pairwise(owners):
        records.append(lab.transfer(records[-1].head, seller, buyer, "NFC-1").record)
    return records


def test_f9_a_patch_is_authentic_after_its_transfers(
    lab: Lab, line: list[AuthenticationRecord]
) -> None:
    result = verification.verify("NFC-1")

    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
    assert result.issuer_signature_valid
    assert (result.head, result.anchor_txid, result.batch) == (line[-1].head, line[-1].txid, None)
    assert result.record["auth"]["prev_txid"] == line[1].head
    assert result.metadata_sha256 == line[0].metadata_sha256
    assert (result.block_height, result.confirmations) == (None, 0)


def test_f11_the_order_of_members_does_not_matter(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(2)
    forth = {"image": "https://x.example/a.png", "notes": "ä", "custom": {"b": "1", "a": "2"}}
    back = {"custom": {"a": "2", "b": "1"}, "notes": "ä", "image": "https://x.example/a.png"}

    records = [
        lab.register("NFC-1", **forth).record,  # type: ignore[arg-type]
        lab.register("NFC-2", **back).record,  # type: ignore[arg-type]
    ]

    assert records[0].metadata_sha256 == records[1].metadata_sha256
    assert list(lab.reload(records[0]).metadata) == list(forth)
    for uid in ("NFC-1", "NFC-2"):
        assert verification.verify(uid).status == verification.AUTHENTIC


def test_a_patch_that_nobody_registered_is_not_found(lab: Lab) -> None:
    for ask in (verification.verify, history.list_custody):
        with pytest.raises(NotFoundError):
            ask("NFC-404")


def test_d4_what_is_published_verifies_without_the_database(
    lab: Lab, line: list[AuthenticationRecord]
) -> None:
    public = verification.verify("NFC-1").record
    auth = public["auth"]
    message = transfer_endorsement_message(
        public["product"]["uid_tag_id"],
        sha256_hex(canonical_json(public["metadata"])),
        auth["prev_txid"],
        auth["owner"],
        auth["ts"],
    )
    keys = [lab.env["ISSUER_PUBLIC_KEYS"]]
    links = custody_lines.load("NFC-1").links()

    assert check_line(_ordered(links, line), keys, lab.settings.woc_network) == []
    assert auth["issuer_pubkey"] in keys
    assert Owner().sign(message) != auth["issuer_signature"]
    assert _verifies(auth["issuer_pubkey"], auth["issuer_signature"], message)


def _change(collection: str, key: str, path: str, value: Any) -> Tampering:
    def tamper(lab: Lab) -> None:
        done = lab.collection(collection).update_one(
            {key: {"$exists": True}}, {"$set": {path: value}}
        )
        assert done.modified_count == 1

    return tamper


def _change_record(path: str, value: Any, index: int = -1) -> Tampering:
    def tamper(lab: Lab) -> None:
        record = AuthenticationRecord.objects.order_by("created_at")[index % 3]
        done = lab.collection("authentication_records").update_one(
            {"_id": record.id}, {"$set": {path: value}}
        )
        assert done.modified_count == 1

    return tamper


def _swap_raw(lab: Lab) -> None:
    first, second = ChainTransaction.objects.order_by("created_at")[:2]
    lab.collection("transactions").update_one(
        {"_id": second.id}, {"$set": {"raw_tx": first.raw_tx}}
    )


def _flip_a_bit_of_raw(lab: Lab) -> None:
    transaction = ChainTransaction.objects.first()
    raw = bytearray(transaction.raw_tx)
    raw[-1] ^= 1
    lab.collection("transactions").update_one(
        {"_id": transaction.id}, {"$set": {"raw_tx": bytes(raw)}}
    )


def _drop_transaction(lab: Lab) -> None:
    lab.collection("transactions").delete_one({"_id": ChainTransaction.objects.first().id})


def _drop_first_record(lab: Lab) -> None:
    first = AuthenticationRecord.objects.order_by("created_at").first()
    lab.collection("authentication_records").delete_one({"_id": first.id})


def _drop_middle_record(lab: Lab) -> None:
    middle = AuthenticationRecord.objects.order_by("created_at")[1]
    lab.collection("authentication_records").delete_one({"_id": middle.id})


TAMPERINGS: dict[str, Tampering] = {
    "metadata": _change_record("metadata.notes", "red, size M"),
    "metadata of the registration": _change_record("metadata.notes", "red, size M", 0),
    "a new metadata member": _change_record("metadata.extra", "x"),
    "metadata hash": _change_record("metadata_sha256", "00" * 32),
    "product": _change_record("product.product_name", "Rain jacket deluxe"),
    "owner": _change_record("owner", Owner().address),
    "first owner": _change_record("owner", Owner().address, 0),
    "time": _change_record("ts", 1),
    "issuer signature": _change_record("issuer_signature", "00"),
    "issuer key": _change_record("issuer_pubkey", Owner().public_key_hex),
    "salt": _change_record("salt", bytes(16)),
    "digest": _change_record("digest", "11" * 32),
    "txid": _change_record("txid", "22" * 32),
    "head of the middle": _change_record("head", "33" * 32, 1),
    "previous head": _change_record("custody.prev_txid", "44" * 32),
    "signed head": _change_record("custody.signed_txid", "44" * 32),
    "owner's key": _change_record("custody.current_owner_pubkey", Owner().public_key_hex),
    "owner's signature": _change_record("custody.current_owner_signature", "3006020101020101"),
    "kind": _change_record("kind", "REGISTRATION"),
    "status of the middle": _change_record("status", "failed", 1),
    "a transaction's bytes": _flip_a_bit_of_raw,
    "another transaction's bytes": _swap_raw,
    "a transaction gone": _drop_transaction,
    "the registration gone": _drop_first_record,
    "the middle gone": _drop_middle_record,
    "the state's owner": _change("patch_states", "head", "owner", Owner().address),
}


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("what", TAMPERINGS)
def test_what_was_tampered_with_is_compromised_and_says_why(lab: Lab, what: str) -> None:
    assert verification.verify("NFC-1").status == verification.AUTHENTIC

    TAMPERINGS[what](lab)

    result = verification.verify("NFC-1")
    assert result.status == verification.COMPROMISED
    assert result.findings


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("field", ["merkle_path", "block_header", "block_hash", "block_height"])
def test_a_tampered_proof_of_being_mined_is_compromised(lab: Lab, field: str) -> None:
    lab.mine()
    lab.pass_time()
    tracker.track()
    assert verification.verify("NFC-1").confirmations == 1
    transaction = ChainTransaction.objects.first()
    genuine = transaction.proof
    header = bytearray(genuine.block_header)
    header[0] ^= 1
    path = bytearray(genuine.merkle_path)
    path[-1] ^= 1
    changed = {
        "merkle_path": bytes(path),
        "block_header": bytes(header),
        "block_hash": "66" * 32,
        "block_height": genuine.block_height - 1,
    }
    lab.collection("transactions").update_one(
        {"_id": transaction.id}, {"$set": {f"proof.{field}": changed[field]}}
    )

    result = verification.verify("NFC-1")

    assert result.status == verification.COMPROMISED
    assert "mined" in result.findings[0]


@pytest.mark.usefixtures("line")
def test_a_state_that_names_an_old_head_is_compromised(lab: Lab) -> None:
    first = AuthenticationRecord.objects.order_by("created_at").first()
    change = {"head": first.head, "owner": first.owner}
    lab.collection("patch_states").update_one({}, {"$set": change})

    result = verification.verify("NFC-1")

    assert result.status == verification.COMPROMISED


@pytest.mark.usefixtures("line")
def test_a_state_that_names_no_record_is_a_defect(lab: Lab) -> None:
    lab.collection("patch_states").update_one({}, {"$set": {"head": "55" * 32}})

    with pytest.raises(InconsistentStateError):
        verification.verify("NFC-1")


@pytest.mark.usefixtures("line")
def test_s5_a_record_by_a_key_that_is_not_pinned_is_compromised(lab: Lab) -> None:
    lab.configure(ISSUER_PUBLIC_KEYS=Owner().public_key_hex)

    result = verification.verify("NFC-1")

    assert result.status == verification.COMPROMISED
    assert not result.issuer_signature_valid


def test_s5_a_whole_forged_record_is_compromised(lab: Lab) -> None:
    """Somebody with the database signs a record with a key of their own, without a flaw."""
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(1)
    record = lab.register("NFC-1").record
    forger = Owner()
    message = registration_message("NFC-1", record.metadata_sha256, record.ts)
    record.owner = forger.address
    record.issuer_pubkey = forger.public_key_hex
    record.issuer_signature = forger.sign(message)
    _forge_anchor(lab, record)

    result = verification.verify("NFC-1")

    assert result.status == verification.COMPROMISED
    assert not result.issuer_signature_valid


def test_a_patch_is_authentic_while_its_transfer_is_settled(lab: Lab) -> None:
    """Readers come at every moment, also between the state's move and the record's."""
    lab.fill_pool(3)
    owner, buyer = Owner(), Owner()
    head = lab.registered("NFC-1", owner).head
    lab.transfer(head, owner, buyer, "NFC-1")

    with crashing(POINTS["advance_each"]):
        anchoring.anchor_due(100)

    result = verification.verify("NFC-1")
    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
    assert result.record["auth"]["owner"] == buyer.address
    assert len(history.list_custody("NFC-1")) == 2


def test_a_patch_that_moves_while_it_is_read_is_not_compromised(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.fill_pool(3)
    owner, buyer = Owner(), Owner()
    head = lab.registered("NFC-1", owner).head
    lab.transfer(head, owner, buyer, "NFC-1")
    find = PatchState.find

    def find_and_move_on(uid: str) -> PatchState | None:
        state: PatchState | None = find(uid)
        anchoring.anchor_due(100)
        return state

    monkeypatch.setattr(PatchState, "find", find_and_move_on)
    result = verification.verify("NFC-1")

    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
    assert result.record["auth"]["owner"] == buyer.address


def _verifies(public_key_hex: str, signature_hex: str, message: bytes) -> bool:
    return PublicKey.from_hex(public_key_hex).verify(bytes.fromhex(signature_hex), digest(message))


def _ordered(links: list[CustodyLink], line: list[AuthenticationRecord]) -> list[CustodyLink]:
    return sorted(links, key=lambda link: [record.head for record in line].index(link.head))


def _forge_anchor(lab: Lab, record: AuthenticationRecord) -> None:
    public = record.public_view()
    digest_hex = record_digest(bytes(record.salt), public)
    payload = commitment_payload(digest_hex, record.issuer_pubkey, record.issuer_signature, None)
    script = Envelope(Kind.REGISTRATION, payload).to_locking_script()
    stored = lab.transaction_of(record)
    genuine = Transaction.from_bytes(bytes(stored.raw_tx))
    forged = Transaction(genuine.inputs, (TxOutput(0, script), *genuine.outputs[1:]))
    lab.collection("transactions").update_one(
        {"_id": stored.id}, {"$set": {"raw_tx": forged.to_bytes(), "txid": forged.txid}}
    )
    lab.collection("authentication_records").update_one(
        {"_id": record.id},
        {
            "$set": {
                "owner": record.owner,
                "issuer_pubkey": record.issuer_pubkey,
                "issuer_signature": record.issuer_signature,
                "digest": digest_hex,
                "head": forged.txid,
                "txid": forged.txid,
            }
        },
    )
    lab.collection("patch_states").update_one(
        {}, {"$set": {"head": forged.txid, "owner": record.owner}}
    )
