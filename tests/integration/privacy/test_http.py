"""What people ask for over HTTP: their data, proof of their keys, and to be forgotten."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PublicKey
from app.bitcoin.transactions import Transaction
from app.domain.envelope import Envelope, record_digest
from app.domain.inclusion import Inclusion, find_inclusion_problem
from app.domain.messages import digest, key_proof_message
from app.services import claims, login_keys, tokens
from devnet.supervisor import Devnet
from tests.integration.api.caller import Caller
from tests.integration.privacy.conftest import tell
from tests.integration.privacy.people import Member, bury, hand_on, places_of
from tests.integration.services.lab import Lab, Owner
from tests.integration.services.tills import UID, Shop, approve, signed_claim

EMAIL = "ann@shop.example"


@pytest.fixture
def caller(clean_devnet: Devnet) -> Iterator[Caller]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    caller = Caller(Lab(clean_devnet))
    caller.start(PRIVACY_MAX="1000000")
    caller.lab.begin()
    yield caller
    caller.lab.clear_faults()
    caller.lab.close()
    root.handlers[:] = handlers
    root.setLevel(level)


class Browser:
    """Somebody's requests with their token."""

    def __init__(self, caller: Caller, subject: str) -> None:
        self.caller = caller
        self.headers = {"Authorization": f"Bearer {tokens.issue(subject)}"}

    def send(self, method: str, path: str, **options: Any) -> TestResponse:
        return self.caller.send_without_key(
            method, f"/v1/privacy/{path}", headers=self.headers, **options
        )

    def export(self, **query: str) -> dict[str, Any]:
        response = self.send("GET", "export", query_string=query)
        assert response.status_code == 200, response.get_data(as_text=True)
        assert response.headers["Cache-Control"] == "no-store"
        return dict(response.json)

    def delete(self) -> dict[str, Any]:
        response = self.send("DELETE", "delete")
        assert response.status_code == 200, response.get_data(as_text=True)
        assert response.headers["Cache-Control"] == "no-store"
        return dict(response.json)

    def prove(self, owner: Owner, subject: str) -> TestResponse:
        signature = owner.sign(key_proof_message(subject, owner.public_key_hex))
        body = {"pubKey": owner.public_key_hex, "signature": signature}
        return self.send("POST", "keys", json=body)


def test_p1_an_export_holds_what_is_held_and_proves_records_offline(caller: Caller) -> None:
    story = tell(caller.lab)

    told = Browser(caller, story.ben.user_id).export()

    assert told["subject"] == story.ben.user_id
    assert [(key["address"], key["provenBy"]) for key in told["keys"]] == [
        (story.ben.owner.address, "login")
    ]
    assert told["loginKey"]["publicKey"] == story.ben.owner.public_key_hex
    [record], [handover] = told["records"], told["handovers"]
    assert (record["owner"], record["isPresentOwner"]) == (story.ben.owner.address, False)
    assert handover["publicKey"] == story.ben.owner.public_key_hex
    # Whom he handed it on to is theirs to know.
    assert story.cat.address not in str(told)
    assert told["nextCursor"] is None
    check_offline(record)


def check_offline(record: dict[str, Any]) -> None:
    """Proves an exported record from its own bytes, as anybody can without this service."""
    chain, view = record["onChain"], record["record"]
    assert record_digest(bytes.fromhex(record["salt"]), view) == record["digest"]
    transaction = Transaction.from_bytes(bytes.fromhex(chain["rawTx"]))
    assert transaction.txid == chain["txid"]
    payload = Envelope.from_locking_script(transaction.outputs[0].locking_script).payload
    assert record["digest"].encode() in payload
    inclusion = Inclusion(
        block_hash=chain["blockHash"],
        block_height=chain["blockHeight"],
        merkle_path=bytes.fromhex(chain["merklePath"]),
        block_header=bytes.fromhex(chain["blockHeader"]),
    )
    assert find_inclusion_problem(chain["txid"], inclusion, Network.REGTEST) is None
    issuer = PublicKey.from_hex(view["auth"]["issuer_pubkey"])
    assert issuer.to_hex().encode() in payload


def test_an_export_comes_in_pages_that_leave_nothing_out(caller: Caller) -> None:
    ann = Member().join()
    caller.lab.fill_pool(4)
    for number in range(3):
        caller.lab.registered(f"NFC-{number}", ann.owner)
    browser = Browser(caller, ann.user_id)

    seen, cursor = [], None
    for _ in range(5):
        page = browser.export(limit="2", **({} if cursor is None else {"cursor": cursor}))
        seen += [record["uid_tag_id"] for record in page["records"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break

    assert seen == ["NFC-0", "NFC-1", "NFC-2"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"cursor": "x"}, "cursor"),
        ({"cursor": f"{'g' * 24}.-"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "many"}, "limit"),
    ],
)
def test_a_bad_page_is_named(caller: Caller, query: dict[str, str], field: str) -> None:
    response = Browser(caller, "5a" * 12).send("GET", "export", query_string=query)

    assert response.status_code == 400
    assert response.json["error"]["details"][0]["field"] == field


@pytest.mark.parametrize(("method", "path"), [("GET", "export"), ("DELETE", "delete")])
def test_nobody_asks_without_a_token(caller: Caller, method: str, path: str) -> None:
    response = caller.send_without_key(method, f"/v1/privacy/{path}")

    assert (response.status_code, response.json["code"]) == (401, "missing_token")


def test_a_deletion_says_what_went_and_what_remains_and_ends_the_tokens(caller: Caller) -> None:
    story = tell(caller.lab)
    browser = Browser(caller, story.ben.user_id)

    told = browser.delete()

    assert told["status"] == "done"
    assert {each["what"] for each in told["erased"]} == {"login_key", "record", "handover"}
    assert all(each["reason"] for each in told["remains"])
    assert places_of(caller.lab, *story.ben.traces) == []
    # The old token tells how it ended, and is good for nothing else.
    assert browser.delete() == told
    assert browser.send("GET", "export").status_code == 401


def test_s1_an_erased_id_is_nobody_elses(caller: Caller) -> None:
    ann, thief = Member().join(), Owner()
    Browser(caller, ann.user_id).delete()
    body = {"userId": ann.user_id, "pmcHex": thief.public_key_hex}

    refused = caller.send_without_key("POST", "/api/svd/register", json=body)

    assert (refused.status_code, refused.json["code"]) == (409, "DUPLICATE_PMC")


def test_an_address_of_mail_follows_the_keys_that_it_has_proven(caller: Caller) -> None:
    wallet = Owner()
    caller.lab.fill_pool(2)
    caller.lab.registered(UID, wallet)
    browser = Browser(caller, EMAIL)
    assert browser.export()["records"] == []

    assert browser.prove(wallet, EMAIL).status_code == 201

    assert [each["uid_tag_id"] for each in browser.export()["records"]] == [UID]


def test_a_proof_for_somebody_else_is_none(caller: Caller) -> None:
    browser = Browser(caller, EMAIL)

    response = browser.prove(Owner(), "somebody@else.example")

    assert response.status_code == 401
    assert "by pubKey, over" in response.json["message"]
    assert browser.export()["keys"] == []


def test_p5_a_strangers_claim_in_my_name_is_not_mine(caller: Caller) -> None:
    """The customer's signature covers no user id, so anyone can write mine into their claim."""
    ann, stranger = Member().join(), Owner()
    Shop(caller.lab).open(JOBS_ASYNC="0")
    claim = claims.create(signed_claim(stranger), user_id=ann.user_id)
    approve(claim)
    browser = Browser(caller, ann.user_id)

    told = browser.export()

    assert told["claimsNamingSubject"] == 1
    assert (told["claims"], told["records"]) == ([], [])
    assert stranger.address not in str(told)
    browser.delete()
    # The stranger's evidence stays, without her id.
    assert places_of(caller.lab, ann.user_id) == []
    assert places_of(caller.lab, stranger.public_key_hex)


def test_a_patch_that_one_still_owns_is_erased_once_it_is_handed_on(caller: Caller) -> None:
    story = tell(caller.lab)
    new = Member().join()
    hand_on(caller.lab, "NFC-1", story.cat, new.owner)
    bury(caller.lab)

    told = Browser(caller, new.user_id).delete()

    assert told["status"] == "waiting"
    [kept] = [each for each in told["remains"] if each["what"] == "present_owner"]
    assert (kept["names"], kept["isErasedLater"]) == (["NFC-1"], True)
    assert login_keys.SvdKey.find(new.user_id) is None


def test_the_signed_bytes_are_those_of_the_document() -> None:
    key = "02" + "ab" * 32
    message = key_proof_message("ann", key)

    assert message == (
        b'{"purpose":"prove_privacy_key","subject":"ann","pubKey":"' + key.encode() + b'"}'
    )
    assert len(digest(message)) == 32
