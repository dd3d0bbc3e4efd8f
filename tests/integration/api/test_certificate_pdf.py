"""Certificates as PDFs (http-api section 7), read back."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader
from werkzeug.test import TestResponse

from app.models.record import AuthenticationRecord
from app.services import certificate_pdf, tracker
from tests.integration.api.caller import Caller
from tests.integration.services.lab import Owner

UID = "NFC_UID_001"
NAME = "Куртка «Zoë»"
PDF = "/certificates/pdf"
UNKNOWN = "ab" * 32


@pytest.fixture
def record(caller: Caller) -> AuthenticationRecord:
    caller.lab.fill_pool(2)
    response = caller.register(UID, Owner(), product={"name": NAME})
    found = AuthenticationRecord.find_confirmed(response.json["txid"])
    assert found is not None
    return found


def asked(caller: Caller, record: AuthenticationRecord, **options: Any) -> TestResponse:
    query = {"dataHash": record.metadata_sha256, "txid": record.head}
    return caller.app.test_client().get(PDF, query_string=query, **options)


def text_of(response: TestResponse) -> str:
    assert response.status_code == 200, response.get_data(as_text=True)
    (page,) = PdfReader(BytesIO(response.data)).pages
    return " ".join(page.extract_text().split())


def test_the_pdf_says_what_is_proven(caller: Caller, record: AuthenticationRecord) -> None:
    query = {"dataHash": record.metadata_sha256, "txid": record.head}

    response = caller.get(PDF, query_string=query)

    assert response.content_type == "application/pdf"
    assert response.headers["Content-Disposition"] == (
        f'attachment; filename="patchproof-certificate-{record.head}.pdf"'
    )
    text = text_of(response)
    for shown in ("Certificate of Authenticity", NAME, UID, record.txid, record.metadata_sha256):
        assert shown in text, shown
    base = caller.lab.settings.public_base_url
    assert f"{base}/certificates/{record.head}" in text


def test_the_same_state_gives_the_same_bytes(caller: Caller, record: AuthenticationRecord) -> None:
    first = asked(caller, record)
    certificate_pdf.render.cache_clear()

    again = asked(caller, record)

    assert again.data == first.data
    assert again.headers["ETag"] == first.headers["ETag"]


def test_it_changes_when_it_is_mined_and_no_more_once_it_is_buried(
    caller: Caller, record: AuthenticationRecord
) -> None:
    seen = [asked(caller, record).data]
    for blocks in (1, 10, 3):
        caller.lab.mine(blocks)
        caller.lab.pass_time()
        tracker.track()
        seen.append(asked(caller, record).data)

    assert len(set(seen)) == 3
    assert seen[-1] == seen[-2]


def test_who_has_it_already_costs_no_second_one(
    caller: Caller, record: AuthenticationRecord
) -> None:
    tag = asked(caller, record).headers["ETag"]
    certificate_pdf.render.cache_clear()

    again = asked(caller, record, headers={"If-None-Match": tag})

    assert (again.status_code, again.data) == (304, b"")
    assert certificate_pdf.render.cache_info().misses == 0


def test_s3_it_is_made_here_whatever_host_is_asked(
    caller: Caller, record: AuthenticationRecord
) -> None:
    plain = asked(caller, record)

    tricked = asked(caller, record, headers={"Host": "169.254.169.254"})

    assert tricked.data == plain.data


@pytest.mark.parametrize("missing", ["dataHash", "txid"])
def test_what_is_missing_is_400_with_the_shared_body(caller: Caller, missing: str) -> None:
    query = {"dataHash": UNKNOWN, "txid": UNKNOWN}
    del query[missing]

    response = caller.get(PDF, query_string=query)

    assert response.status_code == 400
    assert response.json["error"]["message"] == f"{missing} is required"


@pytest.mark.parametrize(
    "txid", ["<script>", '"; filename="x.exe', "x" * 10_000, "\x00" * 64, "a\r\nX-Evil: 1"]
)
def test_s3_a_hostile_txid_reaches_no_header(caller: Caller, txid: str) -> None:
    response = caller.get(PDF, query_string={"dataHash": UNKNOWN, "txid": txid})

    assert response.status_code == 400
    assert "Content-Disposition" not in response.headers
    assert "X-Evil" not in response.headers


def test_failures_are_the_shared_body(caller: Caller, record: AuthenticationRecord) -> None:
    unknown = caller.get(PDF, query_string={"dataHash": UNKNOWN, "txid": UNKNOWN})
    mismatch = caller.get(PDF, query_string={"dataHash": UNKNOWN, "txid": record.head})

    assert (unknown.status_code, unknown.json["code"]) == (404, "certificate_not_found")
    assert (mismatch.status_code, mismatch.json["code"]) == (409, "certificate_mismatch")


def test_s15_a_compromised_patch_has_none(caller: Caller, record: AuthenticationRecord) -> None:
    caller.lab.collection("authentication_records").update_one(
        {"_id": record.id}, {"$set": {"owner": Owner().address}}
    )

    response = asked(caller, record)

    assert (response.status_code, response.json["code"]) == (409, "certificate_refused")


def test_s22_making_them_is_limited(caller: Caller, record: AuthenticationRecord) -> None:
    caller.start(CERTIFICATE_PDF_MAX="2")

    statuses = [asked(caller, record).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]
