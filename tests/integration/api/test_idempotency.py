"""Requests that come twice with one Idempotency-Key."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.domain.api_keys import Scope
from app.domain.clock import utc_now
from app.domain.messages import transfer_message
from app.models.record import AuthenticationRecord
from app.services import anchoring, api_keys, idempotency, submission, tokens
from tests.integration.api.caller import Caller
from tests.integration.services.lab import PATIENCE, Owner

ROOT = Path(__file__).resolve().parents[3]
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
OWNER = Owner()
# A process that dies when the record is durable and nobody has been told: a real one.
DIES_BEFORE_ANSWERING = """
import json, os, signal, sys
from app import create_app
from app.services import anchoring, submission

def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)

submission.wake = anchoring.anchor = die
request = json.load(sys.stdin)
create_app(environ=request["environ"]).test_client().post(
    "/v1/patches", json=request["body"], headers=request["headers"]
)
"""


def registration(uid: str = "NFC_UID_001", **metadata: str) -> dict[str, Any]:
    return {
        "product": {"uid_tag_id": uid, "name": "Ørsted"},
        "metadata": metadata,
        "auth": {"owner": OWNER.address},
    }


def post(caller: Caller, body: Mapping[str, Any], key: str = KEY, **headers: str) -> TestResponse:
    return caller.post("/v1/patches", body, headers={"Idempotency-Key": key, **headers})


def is_replayed(response: TestResponse) -> bool:
    return bool(response.headers.get("Idempotent-Replayed") == "true")


def transfer(
    caller: Caller, uid: str, head: str, new_owner: str, *, key: str = KEY, user: str = "shop"
) -> TestResponse:
    body = {
        "newOwnerAddress": new_owner,
        "currentOwnerSignature": OWNER.sign(transfer_message(uid, head, new_owner)),
        "currentOwnerPubKey": OWNER.public_key_hex,
    }
    headers = {"Authorization": f"Bearer {tokens.issue(user)}", "Idempotency-Key": key}
    return caller.post(f"/v1/patches/{head}/transfer-ownership", body, headers=headers)


def let_a_day_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "utc_now", lambda: utc_now() + timedelta(hours=24))


@pytest.mark.parametrize("jobs_async", ["0", "1"], ids=["synchronous", "queued"])
def test_same_request_again_has_the_same_answer(caller: Caller, jobs_async: str) -> None:
    caller.start(JOBS_ASYNC=jobs_async)
    caller.lab.fill_pool(2)
    first = post(caller, registration(notes="a", image="https://cdn.example/a.png"))
    again = post(caller, registration(image="https://cdn.example/a.png", notes="a"))
    assert (again.status_code, again.json) == (first.status_code, first.json)
    assert again.headers.get("Location") == first.headers.get("Location")
    assert (is_replayed(first), is_replayed(again)) == (False, True)

    anchoring.anchor_due(10)
    later = post(caller, registration(image="https://cdn.example/a.png", notes="a"))
    assert (later.status_code, later.json) == (first.status_code, first.json)
    assert AuthenticationRecord.objects.count() == 1


def test_without_a_key_a_second_registration_is_a_second_one(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    assert caller.post("/v1/patches", registration()).status_code == 202
    assert caller.post("/v1/patches", registration()).status_code == 409


@pytest.mark.parametrize(
    "other", [registration("NFC_UID_002"), registration(notes="b")], ids=["uid", "notes"]
)
def test_another_request_under_the_same_key_is_refused(
    caller: Caller, other: dict[str, Any]
) -> None:
    caller.start(JOBS_ASYNC="1")
    assert post(caller, registration()).status_code == 202
    refused = post(caller, other)
    assert refused.status_code == 422
    assert refused.json["code"] == "idempotency_key_reused"
    assert AuthenticationRecord.objects.count() == 1


def test_the_key_of_another_caller_is_another_key(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    first = post(caller, registration())
    another = {"x-api-key": api_keys.create("till", [Scope.PATCHES_WRITE]).text}
    taken = post(caller, registration(), **another)
    assert (taken.status_code, taken.json["code"]) == (409, "patch_already_registered")
    second = post(caller, registration("NFC_UID_002"), **another)
    assert second.status_code == 202
    assert post(caller, registration(), KEY).json == first.json
    assert post(caller, registration("NFC_UID_002"), KEY, **another).json == second.json


def test_key_is_stored_as_a_hash(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    post(caller, registration())
    [stored] = caller.lab.collection("authentication_records").find()
    assert KEY not in json.dumps(stored, default=str)


def test_after_a_day_the_key_is_free(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    caller.start(JOBS_ASYNC="1")
    first = post(caller, registration())
    let_a_day_pass(monkeypatch)
    taken = post(caller, registration())
    assert (taken.status_code, taken.json["code"]) == (409, "patch_already_registered")
    other = post(caller, registration("NFC_UID_002"))
    assert other.status_code == 202
    assert other.json["pendingId"] != first.json["pendingId"]


def test_just_before_a_day_is_over_it_is_not(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller.start(JOBS_ASYNC="1")
    first = post(caller, registration())
    almost = utc_now() + timedelta(hours=23, minutes=59)
    monkeypatch.setattr(idempotency, "utc_now", lambda: almost)
    assert post(caller, registration()).json == first.json


def test_p2_twenty_at_once_are_one_registration(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: post(caller, registration()), range(20)))
    assert Counter(answer.status_code for answer in answers) == {202: 20}
    assert len({answer.json["pendingId"] for answer in answers}) == 1
    assert Counter(is_replayed(answer) for answer in answers) == {True: 19, False: 1}
    assert AuthenticationRecord.objects.count() == 1


def test_p2_twenty_at_once_after_a_day_are_one_registration(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller.start(JOBS_ASYNC="1")
    post(caller, registration())
    caller.lab.collection("authentication_records").update_many(
        {}, {"$set": {"created_at": utc_now() - timedelta(days=2)}}
    )
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: post(caller, registration("NFC_UID_002")), range(20)))
    assert Counter(answer.status_code for answer in answers) == {202: 20}
    assert len({answer.json["pendingId"] for answer in answers}) == 1
    assert AuthenticationRecord.objects.count() == 2


def test_p2_two_requests_with_one_key_at_once_are_one_and_refusals(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    bodies = [registration(f"NFC_UID_00{number % 2}") for number in range(20)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda body: post(caller, body), bodies))
    assert Counter(answer.status_code for answer in answers) == {202: 10, 422: 10}
    assert len({a.json["pendingId"] for a in answers if a.status_code == 202}) == 1
    assert AuthenticationRecord.objects.count() == 1


def test_p2_twenty_at_once_in_synchronous_mode(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    before = caller.lab.accepted_count()
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: post(caller, registration()), range(20)))
    final = post(caller, registration())
    assert final.status_code == 201
    assert {answer.status_code for answer in answers} <= {201, 202, 409}
    assert {a.json["code"] for a in answers if a.status_code == 409} <= {"idempotency_in_progress"}
    assert {a.json["txid"] for a in answers if a.status_code == 201} == {final.json["txid"]}
    assert caller.lab.accepted_count() == before + 1


@pytest.mark.parametrize("jobs_async", ["0", "1"], ids=["synchronous", "queued"])
def test_p1_a_process_that_dies_before_it_answers_leaves_the_answer(
    caller: Caller, jobs_async: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller.start(JOBS_ASYNC=jobs_async)
    caller.lab.fill_pool(2)
    died = subprocess.run(
        [sys.executable, "-c", DIES_BEFORE_ANSWERING],
        input=json.dumps(
            {
                "environ": {**caller.lab.env, **PATIENCE, "JOBS_ASYNC": jobs_async},
                "body": registration(),
                "headers": {"x-api-key": caller.lab.env["API_KEY"], "Idempotency-Key": KEY},
            }
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    [record] = AuthenticationRecord.objects

    again = post(caller, registration())
    if jobs_async == "0":
        assert (again.status_code, again.json["code"]) == (409, "idempotency_in_progress")
        assert int(again.headers["Retry-After"]) > 0
        monkeypatch.setattr(submission, "utc_now", lambda: utc_now() + timedelta(hours=1))
        again = post(caller, registration())
    assert again.status_code == 202
    assert again.json["pendingId"] == str(record.id)
    assert is_replayed(again)

    caller.lab.sweep_until_quiet()
    ended = post(caller, registration())
    assert ended.status_code == (201 if jobs_async == "0" else 202)
    assert caller.get(again.headers["Location"]).json["status"] == "confirmed"
    assert AuthenticationRecord.objects.count() == 1


def test_d6_what_was_refused_may_be_tried_again_under_the_same_key(caller: Caller) -> None:
    assert post(caller, registration()).status_code == 503
    caller.lab.fill_pool(1)
    again = post(caller, registration())
    assert again.status_code == 201
    assert not is_replayed(again)


def test_what_was_accepted_and_failed_is_still_the_same_answer(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    first = post(caller, registration())
    AuthenticationRecord.fail_unclaimed(first.json["pendingId"], "given up")
    again = post(caller, registration())
    assert (again.status_code, again.json) == (202, first.json)
    assert caller.get(again.headers["Location"]).json["status"] == "failed"
    fresh = post(caller, registration(), key="another-key")
    assert fresh.json["pendingId"] != first.json["pendingId"]


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "a\tb", "clé", "\x7f"], ids=ascii)
def test_key_of_another_shape_is_refused_by_its_name(caller: Caller, key: str) -> None:
    caller.start(JOBS_ASYNC="1")
    response = post(caller, registration(), key=key)
    assert response.status_code == 400
    assert [d["field"] for d in response.json["error"]["details"]] == ["Idempotency-Key"]
    assert AuthenticationRecord.objects.count() == 0


@pytest.mark.parametrize("key", ["!", "k" * 255, '"quoted"', "a,b;c=~"])
def test_any_visible_characters_are_a_key(caller: Caller, key: str) -> None:
    caller.start(JOBS_ASYNC="1")
    first = post(caller, registration(), key=key)
    assert first.status_code == 202
    assert post(caller, registration(), key=key).json == first.json


@pytest.mark.parametrize("jobs_async", ["0", "1"], ids=["synchronous", "queued"])
def test_m8_transfer_again_is_answered_after_the_patch_has_moved(
    caller: Caller, jobs_async: str
) -> None:
    caller.lab.fill_pool(3)
    head = caller.registered("NFC_UID_001", OWNER)
    caller.start(JOBS_ASYNC=jobs_async)
    buyer = Owner().address
    first = transfer(caller, "NFC_UID_001", head, buyer)
    anchoring.anchor_due(10)
    again = transfer(caller, "NFC_UID_001", head, buyer)
    assert (again.status_code, again.json) == (first.status_code, first.json)
    assert first.status_code == (200 if jobs_async == "0" else 202)
    assert is_replayed(again)

    without = transfer(caller, "NFC_UID_001", head, buyer, key="another-key")
    assert (without.status_code, without.json["code"]) == (409, "patch_moved")
    stranger = transfer(caller, "NFC_UID_001", head, buyer, user="somebody-else")
    assert (stranger.status_code, stranger.json["code"]) == (409, "patch_moved")
    other = transfer(caller, "NFC_UID_001", head, OWNER.address)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_one_key_serves_two_routes(caller: Caller) -> None:
    caller.lab.fill_pool(3)
    registered = post(caller, registration())
    moved = transfer(caller, "NFC_UID_001", registered.json["txid"], Owner().address)
    assert (registered.status_code, moved.status_code) == (201, 200)
