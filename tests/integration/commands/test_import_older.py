"""`manage.py db import-older`: what the chain shows of it is taken, all else is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId
from flask.testing import FlaskClient

from app import create_app, extensions
from app.bitcoin.keys import PrivateKey
from app.domain.canonical import canonical_json, sha256_hex
from app.domain.messages import transfer_message
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.setting import Setting
from app.models.svd_key import SvdKey
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import (
    anchoring,
    invariants,
    older_import,
    pool_sync,
    tokens,
    tracker,
    verification,
)
from tests.integration.commands.conftest import Manage
from tests.integration.commands.older import DAY, OlderSystem, sign
from tests.integration.pool.world import World
from tests.integration.services.lab import Owner

METADATA = {"notes": "blue", "image": "https://example.com/a.png"}


@pytest.fixture
def older(world: World) -> Iterator[OlderSystem]:
    world.configure(WOC_TIMEOUT_MS="30000", JOBS_ASYNC="0")
    system = OlderSystem(world, f"older_{ObjectId()}")
    yield system
    system.close()


@pytest.fixture
def api(older: OlderSystem) -> FlaskClient:
    """The API in this process."""
    older.world.close()
    return create_app(environ=older.world.environ).test_client()


def run(older: OlderSystem, **options: Any) -> Any:
    return older_import.run(older.uri, **options)


def reasons(report: Any) -> dict[str, str]:
    return {note.id: note.reason for note in report.notes}


def counts(report: Any, collection: str = "authenticationrecords") -> dict[str, int]:
    return dict(report.counts.get(collection, {}))


def get(uid: str) -> AuthenticationRecord:
    return AuthenticationRecord.objects(uid_tag_id=uid, status="confirmed").get()


@pytest.mark.parametrize("is_reversed", [True, False], ids=["reversed", "standard"])
def test_f3_f9_f11_an_imported_patch_verifies_through_the_api_and_goes_on(
    older: OlderSystem, api: FlaskClient, is_reversed: bool
) -> None:
    """Digests over the reversed bytes, metadata in the client's order, one issuer's signature for
    the whole line."""
    world, (ann, bob, cat) = older.world, (Owner(), Owner(), Owner())
    older.is_reversed = is_reversed
    first = older.registered("OLD-1", ann, METADATA)
    second = older.handed_on(first, bob, is_high=True)
    world.fill(3, 3000)

    report = run(older)

    assert counts(report) == {"imported": 2}
    verified = api.get("/v1/patches/verify/OLD-1")
    assert verified.status_code == 200
    body = verified.get_json()
    assert (body["status"], body["verificationDetails"]["issuerSignatureValid"]) == (
        "authentic",
        True,
    )
    assert body["verificationDetails"]["onChainTxid"] == second.txid
    assert body["record"]["auth"]["owner"] == bob.address
    line = api.get("/v1/patches/OLD-1/history").get_json()
    assert [event["txid"] for event in line["events"]] == [first.txid, second.txid]
    in_client_order = sha256_hex(b'{"notes":"blue","image":"https://example.com/a.png"}')
    address = f"/certificates/certificate.html?dataHash={in_client_order}&txid={second.txid}"
    assert api.get(address).status_code == 200
    assert api.get(f"/certificates/{first.txid}").status_code == 200

    message = transfer_message("OLD-1", second.txid, cat.address)
    moved = api.post(
        f"/v1/patches/{second.txid}/transfer-ownership",
        json={
            "newOwnerAddress": cat.address,
            "currentOwnerSignature": bob.sign(message),
            "currentOwnerPubKey": bob.public_key_hex,
        },
        headers={"Authorization": f"Bearer {tokens.issue('shop')}"},
    )
    assert moved.status_code == 200, moved.get_json()
    body = api.get("/v1/patches/verify/OLD-1").get_json()
    assert (body["status"], body["record"]["auth"]["owner"]) == ("authentic", cat.address)
    newest = AuthenticationRecord.objects(head=moved.get_json()["newTxid"]).get()
    assert newest.metadata_sha256 == sha256_hex(canonical_json(METADATA))
    assert newest.older is None
    world.mine(6)
    pool_sync.sync()
    assert invariants.check(pause_seconds=0).is_clean


def test_m15_imported_transactions_are_tracked_and_proven_like_any_other(
    older: OlderSystem,
) -> None:
    first = older.registered("OLD-1", Owner())
    older.world.mine(6)
    run(older)

    tracker.track()
    ChainTransaction.make_due([get("OLD-1").transaction_id], DAY)
    tracker.track()

    transaction = ChainTransaction.objects(txid=first.txid).get()
    assert (transaction.kind, transaction.status) == ("imported", "final")
    assert verification.verify("OLD-1").block_height == transaction.proof.block_height


def test_what_never_reached_the_chain_is_told_and_not_shown_as_confirmed(
    older: OlderSystem, api: FlaskClient
) -> None:
    made = older.registered("ON-CHAIN", Owner())
    record = made.row["record_data"]
    rows = {
        "never sent": older.store(_of(record, "NEVER"), status="pending"),
        "unknown": older.store(_of(record, "UNKNOWN"), txid="ab" * 32),
        "batched": older.store(
            {**_of(record, "BATCHED"), "auth": {**record["auth"], "merklePath": ["00" * 32]}}
        ),
        "another's": older.store(_of(record, "ANOTHERS"), txid=made.txid),
    }
    # Its schema would have dropped the path; later ones kept it.
    older.database["authenticationrecords"].update_one(
        {"_id": rows["batched"]["_id"]}, {"$set": {"record_data.auth.merklePath": ["00" * 32]}}
    )
    older.world.mine()

    report = run(older)

    assert counts(report) == {"imported": 1, "kept_as_failed": 4}
    why = reasons(report)
    assert why[str(rows["never sent"]["_id"])] == "it was pending and has no transaction"
    assert "chain does not know" in why[str(rows["unknown"]["_id"])]
    assert "batch" in why[str(rows["batched"]["_id"])]
    assert "another record" in why[str(rows["another's"]["_id"])]
    assert PatchState.objects.count() == 1
    shown = api.get(f"/v1/patches/pending/registration/{rows['unknown']['_id']}").get_json()
    assert (shown["status"], shown["txid"]) == ("failed", None)
    assert "imported from the older system" in shown["error"]
    assert api.get("/v1/patches/verify/UNKNOWN").status_code == 404
    assert invariants.check(pause_seconds=0).is_clean
    # Nothing of it is ever anchored, and its uid is free for its brand.
    assert anchoring.anchor_due(100).claimed == 0
    older.world.fill(1, 3000)
    anchoring.anchor([older.world.register("UNKNOWN")])
    assert verification.verify("UNKNOWN").status == "authentic"


def _of(record: dict[str, Any], uid: str) -> dict[str, Any]:
    return {**record, "product": {"uid_tag_id": uid}}


def test_s2_m8_of_rivals_on_the_chain_the_first_counts(older: OlderSystem) -> None:
    """The older system let anybody register a patch again, and hand one head on twice."""
    ann, bob, eve = Owner(), Owner(), Owner()
    first = older.registered("OLD-1", ann)
    older.world.mine()
    takeover = older.registered("OLD-1", eve)
    second = older.handed_on(first, bob)
    older.world.mine()
    twice = older.handed_on(first, eve)
    behind = older.handed_on(twice, ann)
    older.world.mine()

    report = run(older)

    assert counts(report) == {"imported": 2, "kept_as_failed": 3}
    assert PatchState.find("OLD-1").head == second.txid
    why = reasons(report)
    assert why[str(takeover.id)] == why[str(twice.id)] == "another came before it"
    assert "not in the line" in why[str(behind.id)]
    assert verification.verify("OLD-1").status == "authentic"
    older.world.fill(1, 1000)
    assert invariants.check(pause_seconds=0).is_clean


def test_d4_s5_evidence_that_does_not_hold_confirms_nothing(older: OlderSystem) -> None:
    ann, eve = Owner(), Owner()
    first = older.registered("OLD-1", ann, METADATA)
    stolen = older.handed_on(first, eve, signer=eve)
    forged = older.registered("OLD-2", eve, issuer=PrivateKey.generate())
    older.world.mine()

    report = run(older)

    assert counts(report) == {"imported": 1, "kept_as_failed": 2}
    assert PatchState.find("OLD-1").owner == ann.address
    assert PatchState.find("OLD-2") is None
    assert "did not sign it over" in reasons(report)[str(stolen.id)]
    assert "no pinned issuer key" in reasons(report)[str(forged.id)]


def test_s5_the_older_form_is_honoured_for_imported_records_only(older: OlderSystem) -> None:
    """Whoever can write to the database can't pass a record of ours off by it."""
    world = older.world
    world.fill(1, 3000)
    record = world.register("NEW-1")
    anchoring.anchor([record])
    stored = AuthenticationRecord.objects(id=record.id).get()
    older.registered("OLD-1", Owner(), METADATA)
    world.mine()
    run(older)
    form = get("OLD-1").older.to_mongo().to_dict()
    message = stored.content.endorsement_message()
    reversed_one = sign(world.signer.issuer, message, is_reversed=True)
    rows = AuthenticationRecord._get_collection()

    rows.update_one({"_id": record.id}, {"$set": {"older": form}})
    assert verification.verify("NEW-1").status == "authentic"
    rows.update_one({"_id": record.id}, {"$set": {"issuer_signature": reversed_one}})
    assert "no pinned issuer key signed it" in str(verification.verify("NEW-1").findings)
    ChainTransaction._get_collection().update_one(
        {"_id": stored.transaction_id}, {"$set": {"kind": "imported"}}
    )
    assert verification.verify("NEW-1").status == "compromised"
    # And an imported one is checked, not believed.
    rows.update_one({"_id": get("OLD-1").id}, {"$set": {"owner": Owner().address}})
    assert verification.verify("OLD-1").status == "compromised"


def test_it_can_be_repeated_and_a_dry_run_writes_nothing(
    older: OlderSystem, manage: Manage
) -> None:
    first = older.registered("OLD-1", Owner())
    older.handed_on(first, Owner())
    older.store(_of(first.row["record_data"], "LOST"), txid="cd" * 32)
    older.world.mine()

    planned = manage("db", "import-older", "--from", older.uri, "--dry-run", "--json")
    assert planned.json["counts"] == {"authenticationrecords": {"imported": 2, "kept_as_failed": 1}}
    assert AuthenticationRecord.objects.count() == ChainTransaction.objects.count() == 0
    done = manage("db", "import-older", "--from", older.uri, "--json")
    kept = _stored(older)
    again = manage("db", "import-older", "--from", older.uri)

    assert (planned.code, done.code, again.code) == (0, 0, 0)
    assert done.json["counts"] == planned.json["counts"]
    assert "there already" in again.stdout
    assert _stored(older) == kept


def _stored(older: OlderSystem) -> list[list[dict[str, Any]]]:
    database = extensions.get().database[older.world.settings.db_name]
    names = ("authentication_records", "transactions", "patch_states")
    return [list(database[name].find().sort("_id", 1)) for name in names]


@pytest.mark.parametrize("dies_after", ["transactions", "records"])
def test_one_that_died_in_the_middle_goes_on(
    older: OlderSystem, monkeypatch: pytest.MonkeyPatch, dies_after: str
) -> None:
    first = older.registered("OLD-1", Owner())
    second = older.handed_on(first, Owner())
    older.world.mine()
    document = {"transactions": ChainTransaction, "records": AuthenticationRecord}[dies_after]
    insert = document.insert_all

    def die(rows: Any) -> None:
        insert(rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(document, "insert_all", die)
        with pytest.raises(KeyboardInterrupt):
            run(older)

    run(older)

    assert PatchState.find("OLD-1").head == second.txid
    assert verification.verify("OLD-1").status == "authentic"
    assert AuthenticationRecord.objects.count() == ChainTransaction.objects.count() == 2


def test_what_was_in_no_block_is_taken_by_a_later_run(older: OlderSystem) -> None:
    older.registered("OLD-1", Owner())

    waiting = run(older)
    older.world.mine()
    taken = run(older)

    assert (counts(waiting), counts(taken)) == ({"waiting": 1}, {"imported": 1})


def test_what_was_kept_as_failed_is_taken_once_the_chain_shows_it(older: OlderSystem) -> None:
    made = older.registered("OLD-1", Owner())
    rows = older.database["authenticationrecords"]
    rows.update_one({"_id": made.id}, {"$set": {"txid": "ef" * 32}})
    older.world.mine()
    run(older)
    rows.update_one({"_id": made.id}, {"$set": {"txid": made.txid}})

    run(older)

    assert get("OLD-1").id == made.id


def test_a_patch_that_is_registered_here_is_not_taken_over(older: OlderSystem) -> None:
    older.world.fill(1, 3000)
    anchoring.anchor([older.world.register("OLD-1")])
    head = PatchState.find("OLD-1").head
    made = older.registered("OLD-1", Owner())
    older.world.mine()

    report = run(older)

    assert counts(report) == {"refused": 1}
    assert "registered here" in reasons(report)[str(made.id)]
    assert PatchState.find("OLD-1").head == head


HOSTILE: dict[str, dict[str, Any]] = {
    "no product": {"record_data": {"auth": {}}},
    "a list": {"record_data": [1, 2]},
    "nothing": {},
    "a long uid": {"record_data": {"product": {"uid_tag_id": "x" * 10_000}, "auth": {}}},
    "null bytes": {"record_data": {"product": {"uid_tag_id": "a\x00bc"}, "auth": {}}},
    "an operator": {"record_data": {"product": {"uid_tag_id": {"$gt": ""}}, "auth": {}}},
    "a number": {"record_data": {"product": {"uid_tag_id": 12345}, "auth": {}}},
    "a bad owner": {
        "record_data": {"product": {"uid_tag_id": "UID"}, "auth": {"owner": "1BoatSLRHtKNngkdXEe"}}
    },
    "another _id": {"_id": {"a": "\x00" * 200}, "record_data": {"product": {}, "auth": {}}},
}


def test_hostile_rows_are_reported_each_and_hold_nothing_up(
    older: OlderSystem, manage: Manage
) -> None:
    made = older.registered("OLD-1", Owner())
    older.world.mine()
    rows = [{"_id": ObjectId(), **row} for row in HOSTILE.values()]
    older.database["authenticationrecords"].insert_many(rows)
    odd = [
        {"userId": {"$ne": 1}, "pmcHex": "02" + "11" * 32},
        {"userId": "ab" * 12, "pmcHex": "\x00" * 10_000},
        {"userId": "ab" * 12, "pmcHex": None},
    ]
    older.database["svdregistries"].insert_many([{"_id": ObjectId(), **row} for row in odd])
    older.database["utxos"].insert_many(
        [
            {"txid": "zz", "vout": 0},
            {"txid": "ab" * 32, "vout": -1, "satoshis": 1},
            {"txid": "ab" * 32, "vout": 0, "satoshis": True, "status": "available"},
            {"txid": "ab" * 32, "vout": 0, "satoshis": 5, "status": "free", "address": "x"},
        ]
    )
    older.database["settings"].insert_many([{"key": {"a": 1}}, {"key": "FEE_PER_KB", "value": []}])

    done = manage("db", "import-older", "--from", older.uri, "--json")
    table = manage("db", "import-older", "--from", older.uri)

    assert done.code == 1
    assert {name: each.get("refused") for name, each in done.json["counts"].items()} == {
        "authenticationrecords": len(HOSTILE),
        "svdregistries": 3,
        "utxos": 4,
        "settings": 2,
    }
    assert {note["outcome"] for note in done.json["notes"]} == {"refused"}
    assert all(len(str(note)) < 1000 for note in done.json["notes"])
    assert "\x00" not in done.stdout + table.stdout
    assert get("OLD-1").id == made.id


def test_m2_the_pool_is_what_the_chain_says_whatever_the_rows_say(older: OlderSystem) -> None:
    """A locked or spent row comes back as what the chain names, and free only after a sync."""
    world = older.world
    points = world.fund(4, 2000)
    world.mine()
    script_of_row = {"satoshis": 2000, "address": world.address, "keyIdentifier": "old-name"}
    statuses = ("available", "locked", "spent", "available")
    older.database["utxos"].insert_many(
        [
            {"txid": p.split(":")[0], "vout": int(p.split(":")[1]), "status": s, **script_of_row}
            for p, s in zip(points, statuses, strict=True)
        ]
        + [
            {"txid": "ab" * 32, "vout": 0, "status": "available", **script_of_row},
            {"txid": points[0].split(":")[0], "vout": 99, "status": "locked", **script_of_row},
        ]
    )
    pool_sync.sync()
    spender = world.spend_outside([points[3]])
    Utxo._get_collection().delete_many({})

    dry = run(older, is_dry_run=True)
    assert Utxo.objects.count() == 0
    report = run(older)

    assert counts(dry, "utxos") == counts(report, "utxos") == {"imported": 4, "refused": 2}
    assert world.status(points[3]) == "spent"
    assert Utxo.objects(outpoint=points[3]).get().spent_txid == spender
    assert {world.status(point) for point in points[:3]} == {"available"}
    assert {utxo.key_identifier for utxo in Utxo.objects} == {world.key_identifier}
    assert invariants.check(pause_seconds=0).is_clean


def test_s1_s6_login_keys_come_unproven_and_the_first_wins(older: OlderSystem) -> None:
    ours, theirs, shared = (PrivateKey.generate().public_key.to_hex() for _ in range(3))
    users = [f"{n:024x}" for n in range(5)]
    SvdKey(user_id=users[0], public_key_hex=ours).insert()
    older.database["svdregistries"].insert_many(
        [
            {"userId": users[0], "pmcHex": theirs},
            {"userId": users[1].upper(), "pmcHex": shared.upper(), "revoked": False},
            {"userId": users[1], "pmcHex": theirs},
            {"userId": users[2], "pmcHex": shared},
            {"userId": users[3], "pmcHex": PrivateKey.generate().public_key.to_hex(), "revoked": 1},
        ]
    )

    report = run(older)
    again = run(older)

    assert counts(report, "svdregistries") == {"refused": 3, "imported": 2}
    assert "another user has this key" in reasons(report).values()
    assert SvdKey.find(users[0]).public_key_hex == ours
    imported = SvdKey.find(users[1])
    assert (imported.public_key_hex, imported.is_proven, imported.revoked_at) == (
        shared,
        False,
        None,
    )
    assert SvdKey.find(users[3]).revoked_at is not None
    assert counts(again, "svdregistries") == {"refused": 3, "there_already": 2}


def test_settings_that_count_here_are_taken_and_codes_and_claims_are_left_out(
    older: OlderSystem,
) -> None:
    Setting.put("MIN_UTXO_COUNT", 7)
    older.database["settings"].insert_many(
        [
            {"key": "FEE_PER_KB", "value": "512"},
            {"key": "MIN_UTXO_COUNT", "value": 99},
            {"key": "DUST_SWEEP_LIMIT", "value": -1},
            {"key": "RESTORED", "value": 1},
        ]
    )
    older.database["verificationcodes"].insert_one({"identifier": "a@example.com", "code": "1"})

    report = run(older)

    assert counts(report, "settings") == {"imported": 1, "there_already": 1, "refused": 2}
    assert report.left_out == {"verificationcodes": 1}
    assert Setting.find_value("FEE_PER_KB") == 512
    assert Setting.find_value("MIN_UTXO_COUNT") == 7


def test_heads_that_differ_are_told(older: OlderSystem) -> None:
    made = older.registered("OLD-1", Owner())
    older.world.mine()
    older.database["patchstates"].insert_many(
        [
            {"uid_tag_id": "OLD-1", "currentTxid": made.txid},
            {"uid_tag_id": "OLD-2", "currentTxid": "ab" * 32},
        ]
    )

    report = run(older)

    assert counts(report, "patchstates") == {"there_already": 1, "refused": 1}
    assert "the chain shows no patch" in str(reasons(report))


def test_a_batch_asks_the_database_as_often_as_one_row(older: OlderSystem) -> None:
    asked = {}
    # The first, so that each of the others finds something that is there already.
    for size in (1, 2, 12):
        for number in range(size):
            older.registered(f"SIZE-{size}-{number}", Owner())
        older.world.mine()
        older.world.reopen()
        with older.world.count_commands() as commands:
            run(older)
            asked[size] = commands.total

    assert asked[12] == asked[2]


def test_what_is_no_older_database_is_refused_without_its_password(
    older: OlderSystem, manage: Manage
) -> None:
    secret = "mongodb://u:hunter2@127.0.0.1:1/older"
    ours = older.world.devnet.env["MONGODB_URI"]
    older.world.configure(DB_SERVER_SELECTION_TIMEOUT_MS="500")
    manage("db", "migrate")

    nonsense = manage("db", "import-older", "--from", "\x00 nonsense")
    away = manage("db", "import-older", "--from", secret)
    empty = manage("db", "import-older", "--from", older.uri)
    itself = manage(
        "db", "import-older", "--from", ours, "--database", older.world.settings.db_name
    )
    named = manage("db", "import-older", "--from", older.uri, "--collection", "records=none")
    kind = manage("db", "import-older", "--from", older.uri, "--collection", "nonsense")

    assert (nonsense.code, away.code, empty.code, itself.code) == (5, 4, 5, 5)
    assert (named.code, kind.code) == (5, 2)
    assert "hunter2" not in away.stderr + away.stdout


def test_other_names_of_collections_can_be_given(older: OlderSystem) -> None:
    older.registered("OLD-1", Owner())
    older.world.mine()
    older.database["authenticationrecords"].rename("patches_of_2023")

    report = run(older, named={"records": "patches_of_2023"}, only=frozenset({"records"}))

    assert counts(report, "patches_of_2023") == {"imported": 1}
