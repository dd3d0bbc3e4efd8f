"""What a certificate says in words, and which addresses it is not for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.bitcoin.addresses import Network
from app.domain.certificates import (
    Certificate,
    CertificateReference,
    find_mismatches,
    fingerprint,
    spell_moment,
)
from app.domain.records import RecordKind

HEAD = "ab" * 32
REGISTERED = datetime(2026, 3, 9, 7, 5, 59, tzinfo=UTC)
CERTIFICATE = Certificate(
    uid_tag_id="NFC-1",
    product=(("name", "Jacket"), ("serial_number", "7")),
    kind=RecordKind.REGISTRATION,
    head=HEAD,
    txid=HEAD,
    current_head=HEAD,
    metadata_sha256="cd" * 32,
    network=Network.MAIN,
    registered_at=REGISTERED,
    recorded_at=REGISTERED,
    mined_at=REGISTERED + timedelta(days=10),
    owners=1,
    block_height=900_000,
    confirmations=1,
    issuer_fingerprint="0123456789abcdef0123456789abcdef",
    findings=(),
    is_partly_erased=False,
)


def facts(**changes: Any) -> dict[str, str]:
    return {fact.label: fact.value for fact in replace(CERTIFICATE, **changes).facts()}


def test_facts_are_spelt_for_people() -> None:
    assert facts() == {
        "Tag": "NFC-1",
        "Serial number": "7",
        "Registered": "9 March 2026, 07:05 UTC",
        "Owners so far": "1",
        "Chain": "Bitcoin SV",
        "Block": "900,000, mined 19 March 2026, 07:05 UTC",
        "Confirmations": "1",
        "Transaction": HEAD,
        "Metadata digest": "cd" * 32,
        "Issuer's key": "0123 4567 89ab cdef 0123 4567 89ab cdef",
    }


def test_what_is_not_known_is_left_out() -> None:
    told = facts(registered_at=None, owners=None, block_height=None)

    assert not {"Registered", "Owners so far", "Confirmations"} & set(told)
    assert "not mined yet" in told["Block"]


def test_a_record_that_shares_its_transaction_is_named_too() -> None:
    assert facts(txid="ef" * 32)["Record"] == HEAD
    assert "Record" not in facts()


def test_a_product_without_a_name_goes_by_its_tag() -> None:
    assert CERTIFICATE.title == "Jacket"
    assert replace(CERTIFICATE, product=()).title == "NFC-1"


@pytest.mark.parametrize(
    ("network", "url"),
    [
        (Network.MAIN, f"https://whatsonchain.com/tx/{HEAD}"),
        (Network.TEST, f"https://test.whatsonchain.com/tx/{HEAD}"),
        (Network.REGTEST, None),
    ],
)
def test_the_chain_is_linked_where_others_see_it(network: Network, url: str | None) -> None:
    assert replace(CERTIFICATE, network=network).explorer_url == url


@pytest.mark.parametrize(
    ("claims", "wrong"),
    [
        ({}, []),
        ({"metadata_sha256": "cd" * 32, "block_height": 900_000, "network": Network.MAIN}, []),
        ({"metadata_sha256": "ce" * 32}, ["dataHash"]),
        ({"block_height": 0}, ["blockHeight"]),
        ({"network": Network.TEST}, ["network"]),
        ({"moment": REGISTERED.replace(hour=0)}, []),
        ({"moment": REGISTERED + timedelta(days=10, hours=2)}, []),
        ({"moment": REGISTERED + timedelta(days=5)}, ["timestamp"]),
        ({"block_height": 1, "moment": datetime(1970, 1, 1, tzinfo=UTC)},
         ["blockHeight", "timestamp"]),
    ],
)  # fmt: skip
def test_s15_what_an_address_says_is_compared(claims: dict[str, Any], wrong: list[str]) -> None:
    assert find_mismatches(CertificateReference(HEAD, **claims), CERTIFICATE) == wrong


def test_a_height_is_wrong_while_there_is_none() -> None:
    waiting = replace(CERTIFICATE, block_height=None)
    assert find_mismatches(CertificateReference(HEAD, block_height=5), waiting) == ["blockHeight"]


def test_a_fingerprint_can_be_made_with_other_tools() -> None:
    # printf 02...02 | xxd -r -p | sha256sum | cut -c-32
    assert fingerprint("02" * 33) == "7f2f54ff94459f3ac4d19d3219ce6ef0"


def test_moments_are_told_in_utc() -> None:
    east = datetime.fromisoformat("2026-01-01T00:30:00+02:00")
    assert spell_moment(east) == "31 December 2025, 22:30 UTC"
