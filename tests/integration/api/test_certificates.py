"""Certificates as pages (http-api section 7): what is proven is shown, whatever an address says."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.test import TestResponse

from app.domain.certificates import fingerprint
from app.domain.clock import utc_now
from app.models.record import AuthenticationRecord
from app.services import tracker
from tests.integration.api.caller import Caller
from tests.integration.api.pages import Page
from tests.integration.services.lab import Owner

UID = "NFC_UID_001"
NAME = 'Jacket <b>"Zoë"</b> & \u202egnp.exe 雨'
UNKNOWN = "ab" * 32
HTML = "/certificates/certificate.html"


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def record(caller: Caller, owner: Owner) -> AuthenticationRecord:
    """A patch that is registered and not mined yet."""
    caller.lab.fill_pool(4)
    response = caller.register(UID, owner, product={"name": NAME}, metadata={"notes": "blue"})
    assert response.status_code == 201, response.get_data(as_text=True)
    found = AuthenticationRecord.find_confirmed(response.json["txid"])
    assert found is not None
    return found


def claimed(caller: Caller, record: AuthenticationRecord, **query: str) -> TestResponse:
    """Asks for the page of a record by the contract's address, with changes."""
    whole = {"dataHash": record.metadata_sha256, "txid": record.head, **query}
    return caller.get(HTML, query_string=whole)


def page_of(response: TestResponse, status: int = 200) -> Page:
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.content_type == "text/html; charset=utf-8"
    return Page(response.get_data(as_text=True))


def mine(caller: Caller, blocks: int = 1) -> int:
    """Mines, and lets the service notice; answers the height of the first block."""
    height = caller.lab.mine(blocks)
    caller.lab.pass_time()
    tracker.track()
    return height - blocks + 1


def test_the_address_of_a_registration_leads_to_its_certificate(
    caller: Caller, owner: Owner
) -> None:
    caller.lab.fill_pool(1)
    url = urlsplit(caller.register(UID, owner).json["certificateUrl"])

    page = page_of(caller.get(url.path, query_string=url.query))

    assert "Certificate of Authenticity" in page.text
    assert parse_qs(url.query)["txid"][0] in page.text


def test_what_is_proven_is_shown(caller: Caller, record: AuthenticationRecord) -> None:
    height = mine(caller, 3)

    page = page_of(claimed(caller, record))

    assert "Authentic" in page.text
    assert NAME in page.text
    for shown in (UID, record.txid, record.metadata_sha256, f"{height:,}", "Confirmations 3"):
        assert shown in page.text, shown
    digits = fingerprint(record.issuer_pubkey)
    assert digits[:4] in page.text
    assert digits[-4:] in page.text
    year = utc_now().year
    assert re.search(rf"Registered \d+ \w+ {year}, \d\d:\d\d UTC", page.text)
    assert re.search(rf"Checked \d+ \w+ {year}, \d\d:\d\d UTC", page.text)
    assert "Owners so far 1" in page.text


def test_p5_owners_are_counted_and_not_named(
    caller: Caller, record: AuthenticationRecord, owner: Owner
) -> None:
    buyer = Owner()
    answer: Any = caller.transfer(UID, record.head, owner, buyer).json

    response = caller.get(f"/certificates/{answer['newTxid']}")

    assert "Owners so far 2" in page_of(response).text
    for person in (owner, buyer):
        assert person.address not in response.text
        assert person.public_key_hex not in response.text


def test_an_earlier_record_leads_to_the_current_one(
    caller: Caller, record: AuthenticationRecord, owner: Owner
) -> None:
    answer: Any = caller.transfer(UID, record.head, owner, Owner()).json

    page = page_of(claimed(caller, record))

    assert "handed on since" in page.text
    links = [link["href"] for link in page.attributes("a")]
    base = caller.lab.settings.public_base_url
    assert f"{base}/certificates/{answer['newTxid']}" in links


def test_a_certificate_that_is_not_mined_says_so(
    caller: Caller, record: AuthenticationRecord
) -> None:
    assert "not mined yet" in page_of(caller.get(f"/certificates/{record.head.upper()}")).text


@pytest.mark.parametrize(
    ("claim", "named"),
    [
        ({"dataHash": UNKNOWN}, "dataHash"),
        ({"blockHeight": "1"}, "blockHeight"),
        ({"network": "main"}, "network"),
        ({"timestamp": "1"}, "timestamp"),
        ({"timestamp": "2001-02-03"}, "timestamp"),
    ],
)
def test_s15_an_address_that_does_not_match_says_so(
    caller: Caller, record: AuthenticationRecord, claim: dict[str, str], named: str
) -> None:
    mine(caller)

    page = page_of(claimed(caller, record, **claim), 409)

    assert "Does not match" in page.text
    assert f"{named} is not what is proven" in page.text
    assert "Authentic" not in page.text


def test_an_address_that_matches_in_all_is_shown(
    caller: Caller, record: AuthenticationRecord
) -> None:
    height = mine(caller)
    said = {"blockHeight": str(height), "network": "regtest", "utm_source": "tag"}

    for timestamp in (str(record.ts // 1000), f"{utc_now():%Y-%m-%d}"):
        page_of(claimed(caller, record, timestamp=timestamp, **said))


def test_s15_an_unknown_transaction_is_unknown(caller: Caller) -> None:
    for response in (
        caller.get(f"/certificates/{UNKNOWN}"),
        caller.get(HTML, query_string={"dataHash": UNKNOWN, "txid": UNKNOWN}),
    ):
        page = page_of(response, 404)
        assert "Unknown" in page.text
        assert UNKNOWN not in page.text


def test_a_record_on_its_way_has_no_certificate_yet(caller: Caller, owner: Owner) -> None:
    caller.lab.fill_pool(1)
    record = AuthenticationRecord.find_confirmed(caller.registered(UID, owner))
    assert record is not None
    caller.lab.collection("authentication_records").update_one(
        {"_id": record.id}, {"$set": {"status": "anchoring", "head": UNKNOWN, "txid": UNKNOWN}}
    )

    response = caller.get(f"/certificates/{UNKNOWN}")

    assert "Not yet" in page_of(response, 404).text
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["Cache-Control"] == "no-store"


def test_an_erased_record_says_so_and_leads_on(
    caller: Caller, record: AuthenticationRecord, owner: Owner
) -> None:
    head: Any = caller.transfer(UID, record.head, owner, Owner()).json["newTxid"]
    AuthenticationRecord.erase_owners([record])

    response = caller.get(f"/certificates/{record.head}")

    page = page_of(response, 410)
    assert "Erased" in page.text
    assert f"/certificates/{head}" in [link["href"] for link in page.attributes("a")]
    assert owner.address not in response.text


def test_the_current_record_tells_that_a_part_of_the_line_was_erased(
    caller: Caller, record: AuthenticationRecord, owner: Owner
) -> None:
    head: Any = caller.transfer(UID, record.head, owner, Owner()).json["newTxid"]
    following = AuthenticationRecord.find_confirmed(head)
    assert following is not None
    AuthenticationRecord.erase_handovers([following])
    AuthenticationRecord.erase_owners([record])

    page = page_of(caller.get(f"/certificates/{head}"))

    assert "had something of theirs erased" in page.text
    assert "Authentic" in page.text


def test_s5_a_compromised_patch_is_no_certificate(
    caller: Caller, record: AuthenticationRecord
) -> None:
    caller.lab.collection("authentication_records").update_one(
        {"_id": record.id}, {"$set": {"product.name": "Another thing"}}
    )

    response = claimed(caller, record)

    page = page_of(response)
    assert "Do not trust this patch" in page.text
    assert "its digest is not that of the record" in page.text
    assert "Certificate of Authenticity" not in page.text
    assert "/certificates/pdf" not in response.text


HOSTILE = [
    "<script>alert(1)</script>",
    "x" * 10_000,
    "\x00" * 64,
    "ab" * 31 + "a\x00",
    "\u202e" + "ab" * 31,
    '"><img src=x onerror=alert(1)>',
    "{{1234*100001}}",
    "../../etc/passwd",
    "'; DROP TABLE records; --",
    '{"$ne": ""}',
    "",
]


@pytest.mark.parametrize("field", ["dataHash", "txid", "blockHeight", "timestamp", "network"])
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_s15_nothing_hostile_is_reflected(caller: Caller, field: str, text: str) -> None:
    query = {"dataHash": UNKNOWN, "txid": UNKNOWN, field: text}

    response = caller.get(HTML, query_string=query)

    page = page_of(response, 400)
    assert field in page.text
    assert len(response.text) < 4000
    for piece in (
        "alert",
        "onerror",
        "123401234",
        "passwd",
        "DROP",
        "$ne",
        "\x00",
        "xxxx",
        "\u202e",
    ):
        assert piece not in response.text
    assert not page.attributes("script")


@pytest.mark.parametrize("text", ["%3Cscript%3E", "x" * 10_000, "%00", "%ED%A0%80", "ab" * 31])
def test_s15_nothing_hostile_is_reflected_from_the_path(caller: Caller, text: str) -> None:
    response = caller.app.test_client().get(f"/certificates/{text}")

    page = page_of(response, 400)
    assert "Not an address of a certificate" in page.text
    assert "<script" not in response.text
    assert len(response.text) < 4000


@pytest.mark.parametrize("missing", ["dataHash", "txid"])
def test_what_is_missing_is_named(caller: Caller, missing: str) -> None:
    query = {"dataHash": UNKNOWN, "txid": UNKNOWN}
    del query[missing]
    assert f"{missing} is required" in page_of(caller.get(HTML, query_string=query), 400).text


def test_repeated_and_nested_names_are_no_trick(
    caller: Caller, record: AuthenticationRecord
) -> None:
    query = f"txid[]={record.head}&txid={UNKNOWN}&dataHash={UNKNOWN}&txid={record.head}"
    assert caller.get(HTML, query_string=query).status_code == 404


def test_f15_the_page_works_under_its_own_policy(
    caller: Caller, record: AuthenticationRecord
) -> None:
    response = claimed(caller, record)

    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src data:;")
    assert "unsafe" not in policy
    page = page_of(response)
    assert not page.attributes("script")
    assert not page.attributes("style")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
    (picture,) = page.attributes("img")
    assert str(picture["src"]).startswith("data:image/svg+xml")
    assert picture["alt"]
    (style,) = page.attributes("link")
    assert caller.app.test_client().get(str(style["href"])).status_code == 200
    assert page.attributes("html") == [{"lang": "en"}]
    assert len(page.attributes("h1")) == len(page.attributes("main")) == 1


def test_s18_addresses_are_made_from_settings(caller: Caller, record: AuthenticationRecord) -> None:
    caller.start(PUBLIC_BASE_URL="https://patches.example/")
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}

    response = caller.get(f"/certificates/{record.head}", headers=headers)

    assert "evil" not in response.text
    assert f"https://patches.example/certificates/{record.head}" in page_of(response).text


def test_the_style_is_cached_for_as_long_as_it_is_the_same(
    caller: Caller, record: AuthenticationRecord
) -> None:
    client = caller.app.test_client()
    (link,) = page_of(claimed(caller, record)).attributes("link")

    known = client.get(str(link["href"]))
    unknown = client.get("/static/certificate.css?v=other")

    assert known.content_type == "text/css; charset=utf-8"
    assert "immutable" in known.headers["Cache-Control"]
    assert unknown.headers["Cache-Control"] == "no-cache"
    again = client.get("/static/certificate.css", headers={"If-None-Match": known.headers["ETag"]})
    assert again.status_code == 304


def test_a_page_that_did_not_change_is_304(caller: Caller, record: AuthenticationRecord) -> None:
    path = f"/certificates/{record.head}"
    first = caller.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=60"

    client = caller.app.test_client()
    statuses = set()
    # The page tells the minute of its check; twice at most that has just ended.
    for _ in range(2):
        tag = caller.get(path).headers["ETag"]
        statuses.add(client.get(path, headers={"If-None-Match": tag}).status_code)

    assert 304 in statuses


def test_s22_pages_are_limited_and_the_refusal_is_a_page(caller: Caller) -> None:
    caller.start(READING_MAX="5")

    for _ in range(6):
        response = caller.get(f"/certificates/{UNKNOWN}")

    assert "Too often" in page_of(response, 429).text
    assert int(response.headers["Retry-After"]) > 0


def test_an_outage_is_a_page_that_blames_nobody(caller: Caller) -> None:
    caller.start(
        MONGODB_URI="mongodb://127.0.0.1:1/?directConnection=true",
        DB_SERVER_SELECTION_TIMEOUT_MS="100",
    )

    response = caller.get(f"/certificates/{UNKNOWN}")

    assert "Not now" in page_of(response, 503).text
    caller.start()


def test_a_patch_without_its_state_is_a_defect_of_ours(
    caller: Caller, record: AuthenticationRecord
) -> None:
    caller.lab.collection("patch_states").delete_many({})

    page = page_of(claimed(caller, record), 500)

    assert "The fault is here" in page.text
    assert "no patch" not in page.text
