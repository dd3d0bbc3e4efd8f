"""Registering a key with a proof, replacing it, ending it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app import create_app, extensions
from app.bitcoin.keys import PrivateKey
from app.errors import DuplicateLoginKeyError, LoginKeyChangedError, NotFoundError
from app.models.svd_key import SvdKey
from app.services import challenges, login_keys
from tests.integration.api.caller import Caller
from tests.integration.login.conftest import UNLIMITED, MakePerson
from tests.integration.login.people import Person, code_of

OFF_THE_CURVE = "02" + "00" * 31 + "05"


@pytest.fixture
def strict(caller: Caller) -> Caller:
    """The service as it is in production: a key is registered by who signs with it."""
    caller.start(**UNLIMITED, SVD_REGISTER_PROOF="1")
    return caller


def test_s1_a_key_is_registered_by_its_signature(strict: Caller) -> None:
    person = Person(strict)
    response = person.post("register", person.proof(person.nonce()))
    assert response.status_code == 201
    assert response.json["success"] is True
    assert person.log_in()


def test_s1_without_a_proof_nothing_is_registered(strict: Caller) -> None:
    person = Person(strict)
    response = person.register()
    assert response.status_code == 400
    assert [detail["field"] for detail in response.json["error"]["details"]] == [
        "nonce",
        "signatureHex",
    ]
    assert SvdKey.find(person.user_id) is None


@pytest.mark.parametrize("missing", ["nonce", "signatureHex"])
def test_half_a_proof_is_none_wherever_one_is_sent(caller: Caller, missing: str) -> None:
    person = Person(caller)
    body = person.proof(person.nonce())
    del body[missing]
    response = person.post("register", body)
    assert response.status_code == 400
    assert [detail["field"] for detail in response.json["error"]["details"]] == [missing]
    assert SvdKey.find(person.user_id) is None


def test_a_proof_that_is_not_needed_is_checked_all_the_same(caller: Caller) -> None:
    person = Person(caller)
    body = {**person.proof(person.nonce()), "signatureHex": "30" * 35}
    assert code_of(person.post("register", body)) == (401, "SVD_INVALID_SIGNATURE")
    assert person.post("register", person.proof(person.nonce())).status_code == 201


def test_a_proof_is_bound_to_user_key_and_nonce(strict: Caller) -> None:
    person, other = Person(strict), Person(strict)
    good = person.proof(person.nonce())
    changes = (
        {"pmcHex": other.public_key_hex},
        {"signatureHex": other.proof(good["nonce"])["signatureHex"]},
        {"signatureHex": person.rotation(person.key, good["nonce"])["signatureHex"]},
        {"signatureHex": person.proof(person.nonce())["signatureHex"]},
        {"userId": person.user_id.upper()},
    )
    for change in changes[:3] + changes[4:]:
        refused = person.post("register", good | change)
        assert code_of(refused) == (401, "SVD_INVALID_SIGNATURE"), change
    foreign = other.post("register", other.proof(good["nonce"]))
    assert code_of(foreign) == (400, "SVD_BAD_CHALLENGE")
    assert person.post("register", good).status_code == 201


def test_a_nonce_is_good_for_one_change(strict: Caller) -> None:
    person = Person(strict)
    body = person.proof(person.nonce())
    assert person.post("register", body).status_code == 201
    assert code_of(person.post("register", body)) == (409, "SVD_REPLAYED")


def test_wrong_proofs_end_their_nonce(strict: Caller) -> None:
    person = Person(strict)
    body = person.proof(person.nonce())
    for _ in range(challenges.MAX_WRONG_ANSWERS):
        refused = person.post("register", {**body, "signatureHex": "30" * 35})
        assert code_of(refused) == (401, "SVD_INVALID_SIGNATURE")
    assert code_of(person.post("register", body)) == (400, "SVD_EXPIRED")


def test_the_nonce_says_until_when_it_is_good(caller: Caller) -> None:
    response = Person(caller).post("register-challenge", {"userId": "ab" * 12})
    assert response.headers["Cache-Control"] == "no-store"
    assert set(response.json) == {"nonce", "expiresAt"}
    assert response.json["expiresAt"].endswith("Z")


@pytest.mark.parametrize(
    "public_key_hex", [OFF_THE_CURVE, "04" + "ab" * 32, "00" * 33, "05" + "11" * 32]
)
def test_a_key_that_is_no_point_has_the_code_of_the_contract(
    caller: Caller, person: Person, public_key_hex: str
) -> None:
    nobody = Person(caller)
    refused = nobody.post("register", {"userId": nobody.user_id, "pmcHex": public_key_hex})
    assert code_of(refused) == (400, "VALIDATION_ERROR")
    assert refused.json["error"]["details"][0]["field"] == "pmcHex"
    body = {**person.rotation(PrivateKey.generate(), person.nonce()), "newPmcHex": public_key_hex}
    refused = person.post("rotate", body)
    assert code_of(refused) == (400, "VALIDATION_ERROR")
    assert SvdKey.objects.count() == 1


def test_a_key_is_stored_in_one_spelling(caller: Caller) -> None:
    person = Person(caller)
    body = {"userId": person.user_id.upper(), "pmcHex": person.public_key_hex.upper()}
    assert person.post("register", body).status_code == 201
    assert person.log_in()
    row = SvdKey.find(person.user_id)
    assert row is not None
    assert (row.user_id, row.public_key_hex) == (person.user_id, person.public_key_hex)


def test_a_user_replaces_a_key_with_both_signatures(person: Person) -> None:
    old, new = person.key, PrivateKey.generate()
    response = person.post("rotate", person.rotation(new, person.nonce()))
    assert response.status_code == 200
    assert response.json["success"] is True
    assert code_of(person.complete(person.begin())) == (401, "SVD_INVALID_SIGNATURE")
    person.key = new
    assert person.log_in()
    row = login_keys.get(person.user_id)
    (replaced,) = row.history
    assert replaced.public_key_hex == old.public_key.to_hex()
    assert (replaced.replaced_by, replaced.revoked_at) == ("user", None)
    assert replaced.registered_at <= replaced.replaced_at <= row.registered_at


def test_s1_nobody_else_replaces_a_key(person: Person) -> None:
    new = PrivateKey.generate()
    stranger = Person(person.caller, user_id=person.user_id)
    body = stranger.rotation(new, stranger.nonce())
    assert code_of(stranger.post("rotate", body)) == (401, "SVD_INVALID_SIGNATURE")
    good = person.rotation(new, person.nonce())
    for wrong in (
        {**good, "newSignatureHex": good["signatureHex"]},
        {**good, "signatureHex": good["newSignatureHex"]},
        {**good, "newPmcHex": stranger.public_key_hex},
    ):
        assert code_of(person.post("rotate", wrong)) == (401, "SVD_INVALID_SIGNATURE")
    assert person.log_in()
    assert login_keys.get(person.user_id).history == []
    assert person.post("rotate", good).status_code == 200


def test_a_user_without_a_key_has_none_to_replace(caller: Caller) -> None:
    nobody = Person(caller)
    body = nobody.rotation(PrivateKey.generate(), nobody.nonce())
    assert code_of(nobody.post("rotate", body)) == (400, "SVD_NO_PMC")


def test_a_key_that_is_or_was_in_use_is_not_taken(person: Person, make_person: MakePerson) -> None:
    other = make_person()
    first, second = person.key, PrivateKey.generate()
    for taken in (first, other.key):
        refused = person.post("rotate", person.rotation(taken, person.nonce()))
        assert code_of(refused) == (409, "DUPLICATE_PMC")
    assert person.post("rotate", person.rotation(second, person.nonce())).status_code == 200
    person.key = second
    refused = person.post("rotate", person.rotation(first, person.nonce()))
    assert code_of(refused) == (409, "DUPLICATE_PMC")
    assert person.log_in()


def test_a_key_is_not_replaced_without_end(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_keys, "MAX_ROTATIONS", 1)
    new = PrivateKey.generate()
    assert person.post("rotate", person.rotation(new, person.nonce())).status_code == 200
    person.key = new
    refused = person.post("rotate", person.rotation(PrivateKey.generate(), person.nonce()))
    assert code_of(refused) == (409, "key_changed")
    login_keys.replace(person.user_id, PrivateKey.generate().public_key.to_hex(), "operator x")


def test_s6_a_revoked_key_fails_at_once_in_another_process(caller: Caller, person: Person) -> None:
    here = caller.app
    challenge, second = person.begin(), person.begin()
    assert person.log_in()
    # A worker is an application with connections of its own: it shares nothing with the first.
    there = create_app(environ={**caller.lab.env, **UNLIMITED})
    assert login_keys.revoke(person.user_id, "operator x")
    caller.app = here
    assert code_of(person.complete(challenge)) == (401, "SVD_KEY_REVOKED")
    caller.app = there
    assert code_of(person.complete(second)) == (401, "SVD_KEY_REVOKED")
    rotation = person.rotation(PrivateKey.generate(), person.nonce())
    assert code_of(person.post("rotate", rotation)) == (401, "SVD_KEY_REVOKED")


def test_s6_a_revoked_key_shows_to_its_holder_only(person: Person) -> None:
    login_keys.revoke(person.user_id, "operator x")
    stranger = Person(person.caller, user_id=person.user_id)
    assert code_of(stranger.complete(stranger.begin())) == (401, "SVD_INVALID_SIGNATURE")
    assert code_of(person.register()) == (409, "DUPLICATE_PMC")


def test_revoking_twice_changes_nothing(person: Person) -> None:
    assert login_keys.revoke(person.user_id, "operator x")
    first = login_keys.get(person.user_id).revoked_at
    assert not login_keys.revoke(person.user_id, "operator y")
    row = login_keys.get(person.user_id)
    assert (row.revoked_at, row.revoked_by) == (first, "operator x")


def test_an_operator_replaces_a_lost_and_a_revoked_key(person: Person) -> None:
    lost = person.public_key_hex
    login_keys.revoke(person.user_id, "operator x")
    person.key = PrivateKey.generate()
    login_keys.replace(person.user_id, person.public_key_hex.upper(), "operator y")
    assert person.log_in()
    row = login_keys.get(person.user_id.upper())
    assert (row.revoked_at, row.revoked_by) == (None, None)
    (replaced,) = row.history
    assert (replaced.public_key_hex, replaced.revoked_by) == (lost, "operator x")
    assert replaced.replaced_by == "operator y"
    assert replaced.revoked_at is not None
    with pytest.raises(DuplicateLoginKeyError):
        login_keys.replace(person.user_id, lost, "operator y")


@pytest.mark.parametrize(
    "act",
    [
        login_keys.get,
        lambda user: login_keys.revoke(user, "operator x"),
        lambda user: login_keys.replace(user, "02" + "79" * 32, "operator x"),
    ],
    ids=["get", "revoke", "replace"],
)
@pytest.mark.usefixtures("caller")
def test_a_user_without_a_key_is_unknown_to_the_operator(act: Callable[[str], object]) -> None:
    with pytest.raises(NotFoundError):
        act("ab" * 12)


def test_a_change_upon_a_change_is_refused(person: Person) -> None:
    seen = login_keys.get(person.user_id)
    login_keys.revoke(person.user_id, "operator x")
    with pytest.raises(LoginKeyChangedError):
        login_keys._replace(seen, PrivateKey.generate().public_key, "operator y")
    assert not seen.revoke("operator y")
    assert login_keys.get(person.user_id).history == []


def test_no_key_is_registered_twice_by_the_database_itself(person: Person) -> None:
    indexes = (
        extensions.get()
        .database[extensions.get().settings.db_name]["svd_registry"]
        .index_information()
    )
    assert indexes["public_key_hex_1"]["unique"]
