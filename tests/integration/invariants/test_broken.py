"""Each rule finds what breaks it, and names it: damage is written past the documents."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, invariants, pool_sync
from tests.integration.services.crashes import POINTS, crashing
from tests.integration.services.lab import Lab, Owner

OTHER_TXID = "ab" * 32
PATCH = "NFC-1"


@pytest.fixture
def confirmed(lab: Lab) -> AuthenticationRecord:
    """A registered patch, and two outputs that are left, one of them change."""
    lab.fill_pool(2)
    return lab.registered(PATCH, Owner())


@pytest.fixture
def committed(lab: Lab) -> AuthenticationRecord:
    """A record whose transaction is committed and not sent."""
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    with crashing(POINTS["committed"]):
        anchoring.anchor_due(100)
    return lab.reload(record)


def broken(*, ask_chain: bool = True) -> dict[str, tuple[str, ...]]:
    """The ids that each broken rule names."""
    report = invariants.check(ask_chain=ask_chain, pause_seconds=0)
    found: dict[str, tuple[str, ...]] = {}
    for violation in report.violations:
        assert violation.count == len(violation.ids)
        found[violation.rule] = (*found.get(violation.rule, ()), *violation.ids)
    return found


def damage(lab: Lab, name: str, row_id: Any, change: dict[str, Any]) -> None:
    assert lab.collection(name).update_one({"_id": row_id}, change).modified_count == 1


def spent_coin() -> Utxo:
    coin: Utxo = Utxo.objects.get(status="spent")
    return coin


# Money


def test_p3_an_outpoint_in_two_live_transactions(lab: Lab, confirmed: AuthenticationRecord) -> None:
    row = lab.collection("transactions").find_one({"_id": confirmed.transaction_id})
    twin = {**row, "_id": ObjectId(), "txid": OTHER_TXID, "records": []}
    lab.collection("transactions").insert_one(twin)

    assert broken(ask_chain=False) == {
        "outpoint-spent-once": (row["inputs"][0]["outpoint"],),
        # What makes it a twin can't be right either.
        "bytes-match-document": (str(twin["_id"]),),
        "sent-input-is-secured": (str(twin["_id"]),),
    }


def test_m3_a_held_output_whose_owner_does_not_exist(lab: Lab) -> None:
    lab.fill_pool(1)
    coin = Utxo.objects.get()
    change = {"status": "locked", "held": True, "lock_id": ObjectId()}
    damage(lab, "utxos", coin.outpoint, {"$set": change})

    assert broken() == {"locked-output-has-owner": (coin.outpoint,)}


def test_m3_a_held_output_whose_owner_has_ended(lab: Lab, confirmed: AuthenticationRecord) -> None:
    coin = spent_coin()
    damage(lab, "utxos", coin.outpoint, {"$set": {"status": "locked"}, "$unset": {"spent_txid": 1}})

    found = broken(ask_chain=False)

    assert found.pop("locked-output-has-owner") == (coin.outpoint,)
    assert found == {"sent-input-is-secured": (str(confirmed.transaction_id),)}


def test_m3_a_held_output_whose_owner_spends_another(
    lab: Lab, committed: AuthenticationRecord
) -> None:
    coin = Utxo.objects.get(status="available")
    change = {"status": "locked", "held": True, "lock_id": committed.transaction_id}
    damage(lab, "utxos", coin.outpoint, {"$set": change})

    assert broken() == {"locked-output-has-owner": (coin.outpoint,)}


@pytest.mark.parametrize("lost", ["lock_id", "locked_at"])
def test_a_lock_that_nobody_would_ever_reap(lab: Lab, lost: str) -> None:
    lab.fill_pool(1)
    lab.register_many(1)
    with crashing(POINTS["lock"]):
        anchoring.anchor_due(100)
    coin = Utxo.objects.get()
    assert broken() == {}

    damage(lab, "utxos", coin.outpoint, {"$unset": {lost: 1}})

    assert broken() == {"locked-output-has-owner": (coin.outpoint,)}


def test_m3_a_transaction_under_way_whose_output_is_not_held(
    lab: Lab, committed: AuthenticationRecord
) -> None:
    coin = Utxo.objects.get(status="locked")
    damage(lab, "utxos", coin.outpoint, {"$set": {"held": False}})

    assert broken() == {"sent-input-is-secured": (str(committed.transaction_id),)}


def test_a_spent_output_that_names_nobody(lab: Lab, confirmed: AuthenticationRecord) -> None:
    coin = spent_coin()
    damage(lab, "utxos", coin.outpoint, {"$unset": {"spent_txid": 1}})

    assert broken() == {"spent-output-names-spender": (coin.outpoint,)}


def test_a_spent_output_that_names_somebody_else(lab: Lab, confirmed: AuthenticationRecord) -> None:
    coin = spent_coin()
    damage(lab, "utxos", coin.outpoint, {"$set": {"spent_txid": OTHER_TXID}})

    assert broken() == {"spent-output-names-spender": (coin.outpoint,)}


def test_m2_an_output_that_is_free_and_locked(lab: Lab) -> None:
    lab.fill_pool(1)
    coin = Utxo.objects.get()
    damage(lab, "utxos", coin.outpoint, {"$set": {"spent_txid": OTHER_TXID}})

    assert broken() == {"free-output-is-unlocked": (coin.outpoint,)}


@pytest.mark.parametrize(
    "change",
    [
        {"txid": OTHER_TXID},
        {"fee_satoshis": 1},
        {"size_bytes": 1},
        {"outputs.0.satoshis": 1},
        {"outputs.0.vout": 7},
        {"outputs.0.locking_script": "51"},
        {"raw_tx": b"\x01\x00"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_transaction_that_is_not_what_its_bytes_say(
    lab: Lab, confirmed: AuthenticationRecord, change: dict[str, Any]
) -> None:
    damage(lab, "transactions", confirmed.transaction_id, {"$set": change})

    found = broken(ask_chain=False)

    assert found["bytes-match-document"] == (str(confirmed.transaction_id),)


def test_an_input_that_is_not_in_the_bytes(lab: Lab, committed: AuthenticationRecord) -> None:
    other = f"{OTHER_TXID}:0"
    damage(lab, "transactions", committed.transaction_id, {"$set": {"inputs.0.outpoint": other}})

    found = broken(ask_chain=False)

    assert found["bytes-match-document"] == (str(committed.transaction_id),)


# Records


def test_p1_a_record_that_waits_for_nothing(lab: Lab) -> None:
    [record] = lab.register_many(1)
    damage(lab, "authentication_records", record.id, {"$unset": {"next_attempt_at": 1}})

    assert broken() == {"waiting-has-next-attempt": (str(record.id),)}


def test_p1_a_transaction_that_waits_for_nothing(lab: Lab, committed: AuthenticationRecord) -> None:
    change = {"$unset": {"next_attempt_at": 1}}
    damage(lab, "transactions", committed.transaction_id, change)

    assert broken() == {"waiting-has-next-attempt": (str(committed.transaction_id),)}


def test_d2_a_status_that_no_machine_knows(lab: Lab) -> None:
    [record] = lab.register_many(1)
    damage(lab, "authentication_records", record.id, {"$set": {"status": "queued"}})

    assert broken() == {"status-is-legal": (str(record.id),)}


def test_d3_a_record_confirmed_without_a_transaction(lab: Lab) -> None:
    [record] = lab.register_many(1)
    change = {"$set": {"status": "confirmed"}, "$unset": {"next_attempt_at": 1}}
    damage(lab, "authentication_records", record.id, change)

    found = broken()

    assert found.pop("ended-record-is-whole") == (str(record.id),)
    assert found == {"patch-head-is-fold": (record.uid_tag_id,)}


def test_d6_a_failed_record_that_keeps_its_uid(lab: Lab) -> None:
    [record] = lab.register_many(1)
    AuthenticationRecord.fail_unclaimed(record.id, "no funds")
    assert broken() == {}

    change = {"$set": {"active_key": "reg:NFC-000"}}
    damage(lab, "authentication_records", record.id, change)

    assert broken() == {"ended-record-is-whole": (str(record.id),)}


def test_d1_a_record_anchoring_for_ever(lab: Lab, confirmed: AuthenticationRecord) -> None:
    change = {"status": "anchoring", "next_attempt_at": confirmed.created_at}
    damage(lab, "authentication_records", confirmed.id, {"$set": change})

    assert broken() == {"record-has-one-carrier": (str(confirmed.id),)}


def test_p2_a_confirmed_record_whose_transaction_was_rejected(
    lab: Lab, confirmed: AuthenticationRecord
) -> None:
    change = {"$set": {"status": "rejected"}, "$unset": {"next_attempt_at": 1, "settled_at": 1}}
    damage(lab, "transactions", confirmed.transaction_id, change)

    found = broken(ask_chain=False)

    assert found.pop("record-has-one-carrier") == (str(confirmed.id),)
    assert found == {"spent-output-names-spender": (spent_coin().outpoint,)}


def test_p2_a_record_that_two_transactions_carry(lab: Lab, confirmed: AuthenticationRecord) -> None:
    [other] = lab.register_many(1)
    anchoring.anchor_due(100)
    row = lab.collection("transactions").find_one({"_id": confirmed.transaction_id})
    other = lab.reload(other)
    change = {"$push": {"records": row["records"][0]}}
    damage(lab, "transactions", other.transaction_id, change)

    assert broken() == {"record-has-one-carrier": (str(confirmed.id),)}


@pytest.mark.parametrize("field", ["digest", "issuer_signature", "txid"])
def test_a_record_that_is_not_what_its_transaction_carries(
    lab: Lab, confirmed: AuthenticationRecord, field: str
) -> None:
    damage(lab, "authentication_records", confirmed.id, {"$set": {field: "cd" * 32}})

    assert broken() == {"record-has-one-carrier": (str(confirmed.id),)}


def test_a_record_that_is_not_in_the_bytes(lab: Lab, confirmed: AuthenticationRecord) -> None:
    forged = "30" * 70
    damage(lab, "authentication_records", confirmed.id, {"$set": {"issuer_signature": forged}})
    change = {"$set": {"records.0.issuer_signature": forged}}
    damage(lab, "transactions", confirmed.transaction_id, change)

    assert broken() == {"record-has-one-carrier": (str(confirmed.id),)}


@pytest.mark.parametrize("field", ["head", "owner"])
def test_p4_a_patch_that_is_not_where_its_records_lead(
    lab: Lab, confirmed: AuthenticationRecord, field: str
) -> None:
    damage(lab, "patch_states", PATCH, {"$set": {field: "cd" * 32}})

    assert broken() == {"patch-head-is-fold": (PATCH,)}


def test_p4_a_patch_that_was_forgotten(lab: Lab, confirmed: AuthenticationRecord) -> None:
    lab.collection("patch_states").delete_one({"_id": PATCH})

    assert broken() == {"patch-head-is-fold": (PATCH,)}


def test_p4_a_patch_without_records(lab: Lab) -> None:
    row = {"_id": PATCH, "head": OTHER_TXID, "owner": "me", "record_id": ObjectId()}
    lab.collection("patch_states").insert_one(row)

    assert broken() == {"patch-head-is-fold": (PATCH,)}


def test_s2_a_second_registration_of_a_patch(lab: Lab, confirmed: AuthenticationRecord) -> None:
    [other] = lab.register_many(1)
    anchoring.anchor_due(100)
    damage(lab, "authentication_records", other.id, {"$set": {"uid_tag_id": PATCH}})
    lab.collection("patch_states").delete_one({"_id": other.uid_tag_id})

    assert broken() == {"patch-head-is-fold": (PATCH,)}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unheard-of", "its transaction is of the kind 'unheard-of'"),
        ("batch", "the bytes of its transaction do not carry it"),
    ],
)
def test_p2_a_carrier_of_a_kind_that_it_is_not(
    lab: Lab, confirmed: AuthenticationRecord, kind: str, words: str
) -> None:
    damage(lab, "transactions", confirmed.transaction_id, {"$set": {"kind": kind}})

    [violation] = invariants.check(pause_seconds=0).violations

    assert violation.rule == "record-has-one-carrier"
    assert violation.detail.startswith(words)
    assert violation.ids == (str(confirmed.id),)


def test_p2_a_transaction_that_waits_for_a_person(
    lab: Lab, confirmed: AuthenticationRecord
) -> None:
    change = {"needs_operator": True}
    damage(lab, "transactions", confirmed.transaction_id, {"$set": change})

    assert broken() == {"contradicted-is-undone": (str(confirmed.transaction_id),)}


# The chain


def test_p3_an_output_that_the_pool_has_forgotten(
    lab: Lab, confirmed: AuthenticationRecord
) -> None:
    change = f"{confirmed.txid}:1"
    assert lab.collection("utxos").delete_one({"_id": change}).deleted_count == 1

    assert broken() == {"pool-equals-chain": (change,)}
    assert broken(ask_chain=False) == {}


def test_p3_an_output_that_only_the_pool_has(lab: Lab, confirmed: AuthenticationRecord) -> None:
    row = lab.collection("utxos").find_one({"_id": f"{confirmed.txid}:1"})
    lab.collection("utxos").insert_one({**row, "_id": f"{OTHER_TXID}:0"})

    assert broken() == {"pool-equals-chain": (f"{OTHER_TXID}:0",)}


def test_m7_an_output_that_was_wrongly_marked_spent(lab: Lab) -> None:
    lab.fill_pool(2)
    coin = Utxo.objects.first()
    change = {"status": "spent", "spent_txid": OTHER_TXID}
    damage(lab, "utxos", coin.outpoint, {"$set": change})

    [violation] = invariants.check(pause_seconds=0).violations

    assert violation.rule == "pool-equals-chain"
    assert violation.ids == (coin.outpoint,)
    assert violation.detail == "the pool says spent, the chain unspent"


def test_m2_a_payment_that_no_sync_has_seen_yet_is_news_and_no_difference(lab: Lab) -> None:
    lab.fill_pool(1)
    lab.fund(2)

    report = invariants.check(pause_seconds=0)

    assert report.is_clean
    [notice] = report.notices
    assert notice.startswith("outputs on the chain that are not in the pool yet: 2, run")
    pool_sync.sync()
    assert invariants.check(pause_seconds=0).notices == ()


def test_p3_an_output_that_was_struck_out_and_is_there(lab: Lab) -> None:
    lab.fill_pool(1)
    coin = Utxo.objects.get()
    damage(lab, "utxos", coin.outpoint, {"$set": {"status": "void"}})

    [violation] = invariants.check(pause_seconds=0).violations

    assert violation.detail == "the pool says void, the chain unspent"


def test_an_amount_that_is_not_the_chains(lab: Lab) -> None:
    lab.fill_pool(1)
    coin = Utxo.objects.get()
    damage(lab, "utxos", coin.outpoint, {"$inc": {"satoshis": 1}})

    assert broken() == {"pool-equals-chain": (coin.outpoint,)}


def test_a_spend_behind_our_back(lab: Lab) -> None:
    lab.fill_pool(1)
    coin = Utxo.objects.get()
    lab.spend_coin_outside(coin)

    assert broken() == {"pool-equals-chain": (coin.outpoint,)}


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 503}, {"kind": "garbage"}, {"kind": "cut_before"}],
    ids=lambda fault: fault["kind"],
)
def test_a_chain_that_is_away_is_neither_right_nor_wrong(lab: Lab, fault: dict[str, Any]) -> None:
    lab.fill_pool(1)
    coin = Utxo.objects.get()
    damage(lab, "utxos", coin.outpoint, {"$inc": {"satoshis": 1}})
    lab.set_faults(fault)

    report = invariants.check(pause_seconds=0)

    assert report.violations == ()
    assert set(report.not_checked) == {"pool-equals-chain"}
    assert "pool-equals-chain" not in report.checked
    assert not report.is_clean


# How it is told


def test_ids_are_capped_and_counted(lab: Lab) -> None:
    records = lab.register_many(30)
    lab.collection("authentication_records").update_many({}, {"$unset": {"next_attempt_at": 1}})

    [violation] = invariants.check(pause_seconds=0).violations

    assert violation.count == 30
    assert len(violation.ids) == 20
    assert set(violation.ids) <= {str(record.id) for record in records}


def test_what_is_right_at_the_second_look_is_not_reported(lab: Lab) -> None:
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    damage(lab, "authentication_records", record.id, {"$unset": {"next_attempt_at": 1}})

    def somebody_else_works(_: float) -> None:
        anchoring.anchor([lab.reload(record)])

    assert invariants.check(sleep=somebody_else_works).is_clean
    assert ChainTransaction.objects.count() == 1


def test_damage_that_no_document_could_hold_ends_nothing(
    lab: Lab, confirmed: AuthenticationRecord
) -> None:
    lab.collection("transactions").insert_one({"_id": ObjectId(), "status": "accepted"})
    lab.collection("utxos").insert_one({"_id": "x", "status": "locked", "held": True})
    lab.collection("authentication_records").insert_one({"uid_tag_id": "u", "status": "confirmed"})

    found = broken(ask_chain=False)

    assert {"bytes-match-document", "locked-output-has-owner", "ended-record-is-whole"} <= set(
        found
    )
