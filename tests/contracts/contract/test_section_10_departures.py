"""Section 10: where clients of the older system meet something else, and that it is so."""

from __future__ import annotations

from typing import Any

import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from tests.contracts.contract.people import Person
from tests.contracts.contract.wire import Wire, claim_body, code_of, fields_of, new_uid
from tests.integration.login.people import raised_s
from tests.integration.services.lab import Owner

TXID = "ab" * 32


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/patches/pending/registration/no-object-id", None),
        ("GET", "/v1/patches/pending/transfer/%00%00%00%00%00%00%00%00", None),
        ("GET", "/v1/pos/claim-status/x", None),
        ("POST", "/api/svd/register", {"userId": "ab" * 12, "pmcHex": "02" + "ff" * 32}),
        ("POST", "/api/svd/begin", {"userId": {"$ne": 1}}),
        (
            "POST",
            "/api/svd/complete",
            {"userId": "ab" * 12, "M": "00" * 24, "signatureHex": "3045022100"},
        ),
        ("POST", "/v1/auth/submit-verification", {"identifier": ["a"], "code": {"a": 1}}),
        ("POST", "/v1/pos/claim-intent", {"uid": 5}),
        ("POST", "/nowhere", {}),
    ],
)
def test_10_f29_what_was_500_is_the_callers_mistake(
    wire: Wire, method: str, path: str, body: Any
) -> None:
    assert wire.send(method, path, json=body).status_code in (400, 404)


def test_10_public_keys_are_compressed_and_signatures_have_a_low_s(wire: Wire) -> None:
    owner = Owner()
    uid, txid = wire.registered(owner)
    good = wire.transfer
    word = owner.sign(b"anything")

    high = good(uid, txid, owner, Owner(), currentOwnerSignature=raised_s(word))
    long = good(uid, txid, owner, Owner(), currentOwnerPubKey="04" + "ab" * 64)

    assert (high.status_code, fields_of(high)) == (400, {"currentOwnerSignature"})
    assert (long.status_code, fields_of(long)) == (400, {"currentOwnerPubKey"})


def test_10_addresses_are_those_of_the_network(wire: Wire) -> None:
    key = PrivateKey.generate().public_key
    main, ours = key.address(Network.MAIN), key.address(Network.REGTEST)

    refused = wire.register(new_uid(), Owner(), auth={"owner": main})
    assert fields_of(refused) == {"auth.owner"}
    assert ours[0] in "mn"
    assert wire.register(new_uid(), Owner(), auth={"owner": ours}).status_code == 201


def test_10_nobody_takes_a_login_or_a_patch_over(wire: Wire) -> None:
    person = Person(wire)
    person.register()
    uid, _ = wire.registered(Owner())

    assert Person(wire, user_id=person.user_id).register().status_code == 409
    assert wire.register(uid, Owner()).status_code == 409


def test_10_a_user_has_many_challenges_at_once(wire: Wire) -> None:
    person = Person(wire)
    person.register()
    first, _second = person.begin(), person.begin()

    assert person.complete(first).status_code == 200


def test_10_a_claim_counts_once(wire: Wire) -> None:
    uid, _ = wire.registered(Owner())
    body = claim_body(uid, Owner())

    assert wire.post("/v1/pos/claim-intent", body).status_code == 201
    assert code_of(wire.post("/v1/pos/claim-intent", body)) == (409, "claim_replayed")


def test_10_unknown_members_of_a_transfer_and_an_unlocking_are_refused(wire: Wire) -> None:
    owner = Owner()

    assert fields_of(wire.transfer("NFC-1", TXID, owner, owner, nonse=1)) == {"nonse"}
    assert fields_of(wire.unlock("NFC-1", TXID, owner, "n", nonse="n")) == {"nonse"}


def test_10_writes_have_no_tag(wire: Wire) -> None:
    assert "ETag" not in wire.register(new_uid(), Owner()).headers


def test_10_admin_calls_answer(wire: Wire) -> None:
    answer = wire.keyed("/v1/admin/utxo-maintain", {"action": "sync"})

    assert (answer.status_code, answer.json()["success"]) == (200, True)
