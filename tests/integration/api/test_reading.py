"""What anyone may read: verify, history, how far a record is, readiness."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

from app import extensions
from app.clients.circuit import Circuit
from app.services import tracker
from tests.integration.api.caller import Caller
from tests.integration.services.lab import Owner

UID = "NFC_UID_001"


def test_verify_answers_what_the_contract_says(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    txid = caller.registered(UID, Owner())
    body: Any = caller.get(f"/v1/patches/verify/{UID}").json
    assert set(body) == {"status", "record", "metadata_sha256", "verificationDetails"}
    assert body["status"] == "authentic"
    assert body["record"]["type"] == "AUTHENTICATION_RECORD"
    details = body["verificationDetails"]
    assert details["issuerSignatureValid"] is True
    assert details["onChainTxid"] == txid
    assert details["metadata_sha256"] == body["metadata_sha256"]
    assert (details["blockHeight"], details["findings"]) == (None, [])


def test_block_and_confirmations_are_told_once_known(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    caller.registered(UID, Owner())
    height = caller.lab.mine(3)
    caller.lab.pass_time()
    tracker.track()
    details: Any = caller.get(f"/v1/patches/verify/{UID}").json["verificationDetails"]
    assert details["blockHeight"] == height - 2
    assert details["confirmations"] >= 1


def test_unknown_patch_is_404_with_its_status(caller: Caller) -> None:
    response = caller.get("/v1/patches/verify/NFC_NONE")
    assert response.status_code == 404
    assert response.json["status"] == "not_found"
    assert caller.get("/v1/patches/NFC_NONE/history").status_code == 404


def test_a_patch_that_only_waits_is_404(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    caller.register(UID, Owner())
    assert caller.get(f"/v1/patches/verify/{UID}").status_code == 404


def test_a_head_without_its_record_is_500_with_its_status(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    caller.registered(UID, Owner())
    caller.lab.collection("authentication_records").delete_many({})
    response = caller.get(f"/v1/patches/verify/{UID}")
    assert response.status_code == 500
    assert response.json["status"] == "error"


def test_s5_a_record_that_was_tampered_with_is_compromised(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    caller.registered(UID, Owner())
    caller.lab.collection("authentication_records").update_one(
        {"uid_tag_id": UID}, {"$set": {"owner": Owner().address}}
    )
    body: Any = caller.get(f"/v1/patches/verify/{UID}").json
    assert body["status"] == "compromised"
    assert body["verificationDetails"]["findings"]


def test_history_is_the_line_of_custody_oldest_first(caller: Caller) -> None:
    caller.lab.fill_pool(3)
    owners = [Owner(), Owner(), Owner()]
    txids = [caller.registered(UID, owners[0])]
    for owner, new_owner in pairwise(owners):
        answer: Any = caller.transfer(UID, txids[-1], owner, new_owner).json
        txids.append(answer["newTxid"])

    body: Any = caller.get(f"/v1/patches/{UID}/history").json
    assert body["uid_tag_id"] == UID
    events = body["events"]
    assert [event["kind"] for event in events] == ["REGISTRATION", "TRANSFER", "TRANSFER"]
    assert [event["txid"] for event in events] == txids
    assert [event["anchor_txid"] for event in events] == txids
    assert [event["prev_txid"] for event in events] == [None, *txids[:-1]]
    assert [event["owner"] for event in events] == [owner.address for owner in owners]


@pytest.mark.parametrize(
    "uid", ["https://brand.example/p/1?x=#y", "a//b", "日本語", "a b%c", "..."]
)
def test_f12_every_uid_that_was_registered_can_be_read(caller: Caller, uid: str) -> None:
    caller.lab.fill_pool(1)
    txid = caller.registered(uid, Owner())
    client = caller.app.test_client()
    escaped = quote(uid, safe="")
    verified: Any = client.get(f"/v1/patches/verify/{escaped}").json
    assert verified["verificationDetails"]["onChainTxid"] == txid
    history: Any = client.get(f"/v1/patches/{escaped}/history").json
    assert history["uid_tag_id"] == uid
    key = {"x-api-key": caller.lab.env["API_KEY"]}
    challenge = client.post(f"/v1/patches/{escaped}/unlock-challenge", headers=key)
    assert challenge.status_code == 200


def test_an_answer_that_did_not_change_is_304(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    caller.registered(UID, Owner())
    path = f"/v1/patches/verify/{UID}"
    tag = caller.get(path).headers["ETag"]
    again = caller.app.test_client().get(path, headers={"If-None-Match": tag})
    assert again.status_code == 304


@pytest.mark.parametrize("record_id", ["notanobjectid", "z" * 24, "64b0c0ffee00000000000001"])
@pytest.mark.parametrize("kind", ["registration", "transfer"])
def test_f29_unknown_pending_id_is_404(caller: Caller, kind: str, record_id: str) -> None:
    assert caller.get(f"/v1/patches/pending/{kind}/{record_id}").status_code == 404


def test_a_failed_record_tells_why(caller: Caller) -> None:
    caller.register(UID, Owner())
    row = caller.lab.collection("authentication_records").find_one({"uid_tag_id": UID})
    body: Any = caller.get(f"/v1/patches/pending/registration/{row['_id']}").json
    assert body["status"] == "failed"
    assert body["error"]
    assert body["certificateUrl"] is None


def test_o2_ready_when_every_part_answers(caller: Caller) -> None:
    response = caller.get("/ready")
    assert response.status_code == 200
    assert response.json == {"ready": True}


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("redis", {"REDIS_URL": "redis://127.0.0.1:1/0", "REDIS_PASSWORD": "x"}),
        (
            "database",
            {
                "MONGODB_URI": "mongodb://127.0.0.1:1/?directConnection=true",
                "DB_SERVER_SELECTION_TIMEOUT_MS": "100",
            },
        ),
    ],
)
def test_o2_not_ready_names_the_part(caller: Caller, part: str, settings: dict[str, str]) -> None:
    caller.start(**settings)
    response = caller.get("/ready")
    assert response.status_code == 503
    body: Any = response.json
    assert body["ready"] is False
    assert list(body["parts"]) == [part]
    caller.start()


def test_o2_a_frozen_database_is_named_long_before_the_driver_gives_up(caller: Caller) -> None:
    assert caller.get("/ready").status_code == 200
    pid = int((caller.lab.devnet.directory / "run" / "database").read_text().split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        response = caller.get("/ready")
        taken = time.monotonic() - begun
        alive = caller.get("/health")
    finally:
        os.kill(pid, signal.SIGCONT)

    body: Any = response.json
    assert (response.status_code, body["parts"]) == (503, {"database": "does not answer"})
    assert taken < caller.lab.settings.db_socket_timeout_ms / 1000 / 3
    assert alive.status_code == 200


def test_ready_tells_that_a_broadcaster_is_left_alone(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    circuit = Circuit("whatsonchain", extensions.get().redis, failures=1, open_seconds=60)
    circuit.fail("no answer")

    response = caller.get("/ready")

    assert response.status_code == 200
    body: Any = response.json
    assert body["ready"] is True
    assert "left alone" in body["degraded"]["broadcaster whatsonchain"]
    circuit.succeed()
    assert caller.get("/ready").json == {"ready": True}
