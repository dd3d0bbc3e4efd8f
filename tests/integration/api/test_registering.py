"""Registrations over HTTP, down to the chain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.models.record import AuthenticationRecord
from app.services import anchoring
from tests.integration.api.caller import Caller
from tests.integration.services.lab import Owner

RICH_PRODUCT = {
    "name": "Alpine jacket",
    "category": "outerwear",
    "sku": "AJ-1",
    "serial_number": "0001",
    "material": "wool",
}
CLOSED_PORT = "http://127.0.0.1:1"


def test_f1_registration_is_answered_with_its_transaction(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    response = caller.register("NFC_UID_001", Owner(), metadata={"notes": "Test"})

    assert response.status_code == 201
    body: Any = response.json
    assert set(body) == {"message", "txid", "certificateUrl"}
    assert list(caller.lab.chain_transactions())[-1:] == [body["txid"]]
    url = urlsplit(body["certificateUrl"])
    assert url.path == "/certificates/certificate.html"
    assert parse_qs(url.query) == {
        "dataHash": [sha256(b'{"notes":"Test"}').hexdigest()],
        "txid": [body["txid"]],
    }


def test_s18_certificate_link_ignores_the_host_header(caller: Caller) -> None:
    caller.start(PUBLIC_BASE_URL="https://patches.example/")
    caller.lab.fill_pool(1)
    body = {"product": {"uid_tag_id": "NFC_UID_001"}, "auth": {"owner": Owner().address}}
    response = caller.post("/v1/patches", body, headers={"Host": "169.254.169.254"})
    assert response.json["certificateUrl"].startswith("https://patches.example/certificates/")


def test_registration_of_a_queue_is_accepted_and_can_be_followed(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    caller.lab.fill_pool(1)
    response = caller.register("NFC_UID_001", Owner())

    assert response.status_code == 202
    body: Any = response.json
    assert set(body) == {"message", "jobId", "uid_tag_id", "pendingId"}
    assert body["uid_tag_id"] == "NFC_UID_001"
    assert body["jobId"]
    location = response.headers["Location"]
    assert location == f"/v1/patches/pending/registration/{body['pendingId']}"

    waiting: Any = caller.get(location).json
    assert waiting["status"] == "pending"
    assert (waiting["txid"], waiting["error"], waiting["certificateUrl"]) == (None, None, None)
    assert waiting["created_at"].endswith("Z")
    assert len(waiting["created_at"]) == len("2026-01-01T00:00:00.000Z")

    anchoring.anchor_due(10)
    done: Any = caller.get(location).json
    assert done["status"] == "confirmed"
    assert done["txid"] in done["certificateUrl"]
    assert done["id"] == body["pendingId"]


def test_f10_every_field_comes_back_from_verify(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    metadata = {
        "notes": "First\nsecond",
        "image": "https://cdn.example/a.png",
        "patch_location": "left sleeve",
    }
    owner = Owner()
    caller.register("NFC_UID_001", owner, product=RICH_PRODUCT, metadata=metadata)
    record: Any = caller.get("/v1/patches/verify/NFC_UID_001").json["record"]
    assert record["product"] == {"uid_tag_id": "NFC_UID_001", **RICH_PRODUCT}
    assert record["metadata"] == metadata
    assert record["auth"]["owner"] == owner.address


def test_f11_order_of_members_does_not_matter(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    hashes = set()
    for uid, names in (("NFC_UID_001", ("image", "notes")), ("NFC_UID_002", ("notes", "image"))):
        values = {"image": "https://cdn.example/a.png", "notes": "blue"}
        caller.register(uid, Owner(), metadata={name: values[name] for name in names})
        verified: Any = caller.get(f"/v1/patches/verify/{uid}").json
        assert verified["status"] == "authentic"
        hashes.add(verified["metadata_sha256"])
    canonical = b'{"image":"https://cdn.example/a.png","notes":"blue"}'
    assert hashes == {sha256(canonical).hexdigest()}


def test_s2_second_registration_is_409(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    first, second = Owner(), Owner()
    caller.registered("NFC_UID_001", first)
    response = caller.register("NFC_UID_001", second)
    assert response.status_code == 409
    assert response.json["code"] == "patch_already_registered"
    verified: Any = caller.get("/v1/patches/verify/NFC_UID_001").json
    assert verified["record"]["auth"]["owner"] == first.address


@pytest.mark.parametrize("jobs_async", ["0", "1"], ids=["synchronous", "queued"])
def test_s2_twenty_at_once_make_one_registration(caller: Caller, jobs_async: str) -> None:
    caller.start(JOBS_ASYNC=jobs_async)
    caller.lab.fill_pool(20)
    owner = Owner()
    before = caller.lab.accepted_count()
    with ThreadPoolExecutor(20) as threads:
        answers = threads.map(lambda _: caller.register("NFC_UID_001", owner), range(20))
        statuses = sorted(answer.status_code for answer in answers)
    anchoring.anchor_due(50)
    assert statuses == [202 if jobs_async == "1" else 201, *[409] * 19]
    assert caller.lab.accepted_count() == before + 1


def test_d6_empty_pool_is_503_and_frees_the_uid(caller: Caller) -> None:
    response = caller.register("NFC_UID_001", Owner())
    assert response.status_code == 503
    assert response.json["code"] == "pool_empty"
    assert int(response.headers["Retry-After"]) > 0

    caller.lab.fill_pool(1)
    caller.registered("NFC_UID_001", Owner())


def test_empty_pool_lets_queued_records_wait_visibly(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    accepted = caller.register("NFC_UID_001", Owner())
    assert accepted.status_code == 202
    anchoring.anchor_due(10)
    waiting: Any = caller.get(accepted.headers["Location"]).json
    assert waiting["status"] == "pending"
    assert waiting["error"]

    caller.lab.fill_pool(1)
    caller.lab.sweep_until_quiet()
    assert caller.get(accepted.headers["Location"]).json["status"] == "confirmed"


def test_signer_away_is_503_and_frees_the_uid(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    caller.start(KMS_SIGN_URL=CLOSED_PORT)
    response = caller.register("NFC_UID_001", Owner())
    assert response.status_code == 503
    assert response.json["code"] == "signer_unavailable"
    assert int(response.headers["Retry-After"]) > 0

    caller.start()
    caller.registered("NFC_UID_001", Owner())


def test_p1_broker_away_is_still_accepted(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    caller.start(JOBS_ASYNC="1", REDIS_URL="redis://127.0.0.1:1/0", REDIS_PASSWORD="x")
    response = caller.register("NFC_UID_001", Owner())
    assert response.status_code == 202
    assert response.json["jobId"] is None
    anchoring.anchor_due(10)
    assert caller.get(response.headers["Location"]).json["status"] == "confirmed"


def test_the_request_id_travels_with_the_record(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    body = {"product": {"uid_tag_id": "NFC_UID_001"}, "auth": {"owner": Owner().address}}
    response = caller.post("/v1/patches", body, headers={"x-request-id": "till-7"})
    record = AuthenticationRecord.objects(id=response.json["pendingId"]).first()
    assert record is not None
    assert record.request_id == "till-7"


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    uid=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=3, max_size=128).filter(
        lambda text: not text.endswith("/")
    ),
    name=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=256),
)
def test_any_text_is_kept_as_it_was_sent(caller: Caller, uid: str, name: str) -> None:
    caller.lab.collection("authentication_records").delete_many({})
    caller.start(JOBS_ASYNC="1")
    response = caller.register(uid, Owner(), product={"name": name}, metadata={"notes": name})
    assert response.status_code == 202
    record = AuthenticationRecord.objects(id=response.json["pendingId"]).first()
    assert record is not None
    assert record.product == {"uid_tag_id": uid, "name": name}
    assert record.metadata == {"notes": name}
