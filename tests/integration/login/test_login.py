"""A login by key, as the contract tells it."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from typing import Any

import jwt
import pytest

from app import extensions
from app.bitcoin.keys import PublicKey
from app.clients.kms import KmsClient
from app.domain import svd
from app.domain.clock import utc_now
from app.models.svd_key import SvdKey
from app.services import challenges, signer_kid
from app.services.challenges import Challenge, Purpose
from tests.integration.api.caller import Caller
from tests.integration.login.people import Person, code_of, raised_s


def test_a_signed_challenge_gives_the_token_of_the_contract(person: Person) -> None:
    challenge = person.begin()
    response = person.complete(challenge)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert set(response.json) == {"token"}
    token = response.json["token"]
    secret = extensions.get().settings.jwt_secret.get_secret_value()
    claims = jwt.decode(token, secret, algorithms=["HS256"])
    m = svd.challenge_digest(bytes.fromhex(challenge)).hex()
    assert set(claims) == {"sub", "jti", "cnf", "iat", "nbf", "exp"}
    assert (claims["sub"], claims["jti"]) == (person.user_id, m)
    assert set(claims["cnf"]) == {"msha256", "svd_proof"}
    assert claims["cnf"]["msha256"] == m
    assert len(bytes.fromhex(claims["cnf"]["svd_proof"])) == 32
    assert claims["exp"] - claims["iat"] == 900
    assert claims["iat"] - claims["nbf"] == 30


def test_f34_the_token_names_the_signers_key_and_so_does_kid(person: Person) -> None:
    token = person.complete(person.begin()).json["token"]
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "HS256", "typ": "JWT", "kid": header["kid"]}
    assert header["kid"].startswith("svd-")
    assert header["kid"] != signer_kid.UNNAMED
    response = person.caller.get("/api/svd/kid")
    assert response.json == {"kid": header["kid"]}
    assert response.headers["Cache-Control"] == "public, max-age=300"


def test_the_proof_is_of_the_secret_that_the_signer_shares(person: Person) -> None:
    challenge = person.begin()
    claims = jwt.decode(
        person.complete(challenge).json["token"], options={"verify_signature": False}
    )
    value = bytes.fromhex(challenge)
    secret = extensions.get().kms.derive_secret(value, person.key.public_key)
    proof = svd.login_proof(person.user_id, svd.challenge_digest(value), secret)
    assert claims["cnf"]["svd_proof"] == proof


def test_s10_begin_answers_everybody_alike(caller: Caller, person: Person) -> None:
    answers = [
        somebody.post("begin", {"userId": somebody.user_id})
        for somebody in (person, Person(caller))
    ]
    for response in answers:
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert list(response.json) == ["M", "pmcHex"]
        assert response.json["pmcHex"] is None
        assert bytes.fromhex(response.json["M"]).hex() == response.json["M"]
        assert len(response.json["M"]) == 48
    assert person.public_key_hex not in answers[0].get_data(as_text=True)


def test_a_challenge_begins_with_the_time(person: Person) -> None:
    before = int(time.time())
    seconds = int(person.begin()[:16], 16)
    assert before <= seconds <= time.time()


def test_hex_may_be_of_either_case_and_the_subject_is_as_sent(person: Person) -> None:
    challenge = person.begin()
    body = {
        "userId": person.user_id.upper(),
        "M": challenge.upper(),
        "signatureHex": person.sign(challenge).upper(),
    }
    response = person.post("complete", body)
    assert response.status_code == 200
    claims = jwt.decode(response.json["token"], options={"verify_signature": False})
    assert claims["sub"] == person.user_id.upper()
    value = bytes.fromhex(challenge)
    secret = extensions.get().kms.derive_secret(value, person.key.public_key)
    proof = svd.login_proof(person.user_id.upper(), svd.challenge_digest(value), secret)
    assert claims["cnf"]["svd_proof"] == proof


def test_f16_a_used_challenge_is_replayed_whoever_sends_it(caller: Caller, person: Person) -> None:
    challenge = person.begin()
    assert person.complete(challenge).status_code == 200
    assert code_of(person.complete(challenge)) == (409, "SVD_REPLAYED")
    assert code_of(person.complete(challenge, "30" * 35)) == (409, "SVD_REPLAYED")
    assert code_of(person.complete(challenge.upper())) == (409, "SVD_REPLAYED")


def test_a_used_challenge_is_remembered_for_twice_its_life(person: Person) -> None:
    challenge = person.begin()
    assert person.complete(challenge).status_code == 200
    current = extensions.get()
    (key,) = current.redis.keys("svd:challenge:*")
    life = current.settings.svd_challenge_ttl_sec
    assert life < current.redis.ttl(key) <= 2 * life


def test_f21_every_refusal_has_its_code_at_the_top(person: Person) -> None:
    response = person.complete("00" * 24)
    assert response.json["code"] == response.json["error"]["code"] == "SVD_EXPIRED"
    assert response.json["message"]


def test_a_user_without_a_key_is_told_so_whatever_else_is_wrong(
    caller: Caller, person: Person
) -> None:
    nobody = Person(caller)
    own, foreign, used = nobody.begin(), person.begin(), person.begin()
    assert person.complete(used).status_code == 200
    for challenge in (own, foreign, used, "00" * 24):
        for signature in (None, "30" * 35):
            response = nobody.complete(challenge, signature)
            assert code_of(response) == (400, "SVD_NO_PMC")


def test_s10_a_user_without_a_key_costs_the_same_work(
    caller: Caller, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted and not timed: commands of Redis, questions to the database, curve operations."""
    work: Counter[str] = Counter()

    def counted(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            work[name] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    counted(PublicKey, "verify")
    counted(PublicKey, "add")
    counted(SvdKey, "find_login_key")
    counted(KmsClient, "derive")
    # From here on Redis knows the scripts.
    person.complete(person.begin(), "30" * 35)
    shared: Any = extensions.get().redis
    seen = []
    for somebody in (person, Person(caller)):
        for signature in ("30" * 35, "3006020101020101"):
            challenge = somebody.begin()
            work.clear()
            shared.config_resetstat()
            assert somebody.complete(challenge, signature).status_code in (400, 401)
            stats = shared.info("commandstats")
            # Windows of limits begin and end when it is their time.
            calls = {name: stats[f"cmdstat_{name}"]["calls"] for name in ("get", "set", "evalsha")}
            seen.append((dict(work), calls))
    assert seen[:2] == seen[2:]
    assert seen[1][0] == {"find_login_key": 1, "add": 1, "verify": 1}


def test_s7_a_challenge_of_another_user_is_bad(caller: Caller, person: Person) -> None:
    stranger = Person(caller)
    challenge = stranger.begin()
    assert code_of(person.complete(challenge)) == (400, "SVD_BAD_CHALLENGE")


def test_an_expired_challenge_is_gone(person: Person) -> None:
    challenge = person.begin()
    (key,) = extensions.get().redis.keys("svd:challenge:*")
    assert 0 < extensions.get().redis.ttl(key) <= 180
    # What Redis does at the end of that time.
    extensions.get().redis.delete(key)
    assert code_of(person.complete(challenge)) == (400, "SVD_EXPIRED")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-3600, (400, "SVD_EXPIRED")),
        (-211, (400, "SVD_EXPIRED")),
        (40, (400, "SVD_BAD_CHALLENGE")),
        (2**62, (400, "SVD_BAD_CHALLENGE")),
    ],
    ids=["an hour old", "just too old", "of the future", "of no time"],
)
def test_a_challenge_of_another_time_is_refused_even_when_redis_knows_it(
    person: Person, seconds: int, expected: tuple[int, str]
) -> None:
    value = (int(time.time()) + seconds).to_bytes(8, "big") + bytes(16)
    challenge = Challenge(Purpose.LOGIN, person.user_id, value)
    extensions.get().redis.set(challenge._key, f"{person.user_id}:0", ex=180)
    assert code_of(person.complete(value.hex())) == expected


def test_a_clock_that_is_a_little_ahead_does_no_harm(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = utc_now() + timedelta(seconds=20)
    with monkeypatch.context() as patched:
        patched.setattr(challenges, "utc_now", lambda: ahead)
        challenge = person.begin()
    assert person.complete(challenge).status_code == 200


@pytest.mark.parametrize(
    "make",
    [
        raised_s,
        lambda signature: signature + "00",
        lambda signature: signature[:-2],
        lambda signature: signature + "0",
        lambda signature: "31" + signature[2:],
        lambda _: "30" * 35,
        lambda _: "0" * 10,
        lambda _: "3006020100020100",
        lambda _: "ab" * 5000,
        lambda signature: signature[:-2] + f"{int(signature[-2:], 16) ^ 1:02x}",
    ],
    ids=[
        "high s",
        "trailing byte",
        "truncated",
        "odd length",
        "other tag",
        "nonsense",
        "zeros",
        "r and s of 0",
        "10 KB",
        "another number",
    ],
)
def test_s7_s19_what_is_not_the_signature_is_401_and_burns_nothing(
    person: Person, make: Any
) -> None:
    challenge = person.begin()
    bad = make(person.sign(challenge))
    assert code_of(person.complete(challenge, bad)) == (401, "SVD_INVALID_SIGNATURE")
    assert person.complete(challenge).status_code == 200


def test_a_signature_of_another_kind_is_wrong(caller: Caller, person: Person) -> None:
    challenge = person.begin()
    m = svd.challenge_digest(bytes.fromhex(challenge))
    hashed_again = person.key.add(svd.tweak(m)).sign(svd.challenge_digest(m))
    with_the_master_key = person.key.sign(m)
    by_another = Person(caller).key.add(svd.tweak(m)).sign(m)
    of_the_other_challenge = bytes.fromhex(person.sign(person.begin()))
    for signature in (hashed_again, with_the_master_key, by_another, of_the_other_challenge):
        refused = person.complete(challenge, signature.hex())
        assert code_of(refused) == (401, "SVD_INVALID_SIGNATURE")
    assert person.complete(challenge).status_code == 200


def test_too_many_wrong_signatures_end_the_challenge_that_they_are_for(person: Person) -> None:
    challenge, other = person.begin(), person.begin()
    for _ in range(challenges.MAX_WRONG_ANSWERS):
        refused = person.complete(challenge, "30" * 35)
        assert code_of(refused) == (401, "SVD_INVALID_SIGNATURE")
    assert code_of(person.complete(challenge)) == (400, "SVD_EXPIRED")
    assert person.complete(other).status_code == 200


def test_a_wrong_answer_does_not_prolong_a_challenge(person: Person) -> None:
    challenge = person.begin()
    (key,) = extensions.get().redis.keys("svd:challenge:*")
    extensions.get().redis.expire(key, 50)
    assert person.complete(challenge, "30" * 35).status_code == 401
    assert 0 < extensions.get().redis.ttl(key) <= 50


def test_a_nonce_for_keys_does_not_log_in(person: Person) -> None:
    assert code_of(person.complete(person.nonce())) == (400, "SVD_EXPIRED")


def test_a_challenge_for_a_login_is_no_nonce(caller: Caller) -> None:
    somebody = Person(caller)
    refused = somebody.post("register", somebody.proof(somebody.begin()))
    assert code_of(refused) == (400, "SVD_EXPIRED")
