"""Who does not hold the key gets nowhere, and in nobody's way."""

from __future__ import annotations

from app import extensions
from app.bitcoin.keys import PrivateKey
from app.models.svd_key import SvdKey
from app.services import challenges
from tests.integration.api.caller import Caller
from tests.integration.login.people import Person, code_of

FLOOD = 300


def as_stranger(person: Person) -> Person:
    """Somebody else who says that he is this user."""
    return Person(person.caller, user_id=person.user_id)


def test_s1_registering_over_anothers_key_fails(person: Person) -> None:
    stranger = as_stranger(person)
    assert code_of(stranger.register()) == (409, "DUPLICATE_PMC")
    assert code_of(stranger.complete(stranger.begin())) == (401, "SVD_INVALID_SIGNATURE")
    assert person.log_in()["sub"] == person.user_id
    row = SvdKey.find(person.user_id)
    assert row is not None
    assert row.public_key_hex == person.public_key_hex


def test_s1_nor_does_another_spelling_of_the_user_help(person: Person) -> None:
    stranger = Person(person.caller, user_id=person.user_id.upper())
    assert code_of(stranger.register()) == (409, "DUPLICATE_PMC")
    assert SvdKey.objects.count() == 1


def test_f22_a_second_registration_is_409_for_the_holder_as_well(person: Person) -> None:
    assert code_of(person.register()) == (409, "DUPLICATE_PMC")
    assert person.log_in()


def test_a_key_has_one_user(caller: Caller, person: Person) -> None:
    other = Person(caller, key=person.key)
    assert code_of(other.register()) == (409, "DUPLICATE_PMC")
    assert SvdKey.find(other.user_id) is None


def test_s7_a_strangers_begin_leaves_the_owners_challenge(person: Person) -> None:
    challenge = person.begin()
    for _ in range(5):
        as_stranger(person).begin()
    assert person.complete(challenge).status_code == 200


def test_s7_a_strangers_wrong_answers_leave_the_owners_challenge(person: Person) -> None:
    challenge = person.begin()
    stranger = as_stranger(person)
    for _ in range(2 * challenges.MAX_WRONG_ANSWERS):
        refused = stranger.complete(stranger.begin())
        assert code_of(refused) == (401, "SVD_INVALID_SIGNATURE")
    assert code_of(stranger.complete("00" * 24)) == (400, "SVD_EXPIRED")
    assert person.complete(challenge).status_code == 200


def test_s7_a_flood_of_begins_evicts_and_blocks_nobody(person: Person) -> None:
    challenge = person.begin()
    stranger = as_stranger(person)
    for _ in range(FLOOD):
        stranger.begin()
    assert len(extensions.get().redis.keys("svd:challenge:*")) == FLOOD + 1
    assert person.complete(challenge).status_code == 200
    assert person.log_in()


def test_s7_wrong_answers_to_a_known_challenge_under_another_user_do_not_count(
    caller: Caller, person: Person
) -> None:
    challenge = person.begin()
    for _ in range(2 * challenges.MAX_WRONG_ANSWERS):
        refused = Person(caller).complete(challenge, "30" * 35)
        assert code_of(refused) == (400, "SVD_NO_PMC")
    other = Person(caller)
    assert other.register().status_code == 201
    for _ in range(2 * challenges.MAX_WRONG_ANSWERS):
        assert code_of(other.complete(challenge, "30" * 35)) == (400, "SVD_BAD_CHALLENGE")
    assert person.complete(challenge).status_code == 200


def test_nobody_logs_in_as_a_user_without_a_key(caller: Caller) -> None:
    nobody = Person(caller, key=PrivateKey.from_bytes(bytes(31) + b"\1"))
    assert code_of(nobody.complete(nobody.begin())) == (400, "SVD_NO_PMC")
