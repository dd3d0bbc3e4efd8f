"""Many at once, in several processes: one challenge, at most one token."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import requests

from app.services import login_keys, tokens
from tests.integration.api.caller import Caller
from tests.integration.login.conftest import UNLIMITED
from tests.integration.login.people import Person
from tests.integration.login.servers import gunicorn
from tests.integration.services.test_races import at_once

CALLS = 50
WORKERS = 3


def ask(url: str, path: str, body: dict[str, str]) -> tuple[int, Any]:
    """Sends a body over a connection of its own, so that any worker may get it."""
    answer = requests.post(f"{url}/api/svd/{path}", json=body, timeout=60)
    return answer.status_code, answer.json()


def test_p5_fifty_completes_of_one_challenge_give_one_token(
    caller: Caller, person: Person, tmp_path: Path
) -> None:
    with gunicorn({**caller.lab.env, **UNLIMITED}, tmp_path / "log", WORKERS) as server:
        _, begun = ask(server.url, "begin", {"userId": person.user_id})
        body = {
            "userId": person.user_id,
            "M": begun["M"],
            "signatureHex": person.sign(begun["M"]),
        }
        answers = at_once(CALLS, lambda _: ask(server.url, "complete", body))
    failures = [each for each in answers if isinstance(each, Exception)]
    assert failures == []
    outcomes = Counter(each[1].get("code", "token") for each in answers)  # type: ignore[index]
    assert outcomes == {"token": 1, "SVD_REPLAYED": CALLS - 1}


def test_p5_fifty_completes_in_threads_give_one_token(person: Person) -> None:
    challenge = person.begin()
    signature = person.sign(challenge)
    answers = at_once(CALLS, lambda _: person.complete(challenge, signature))
    codes = Counter(
        each if isinstance(each, Exception) else each.json.get("code", "token") for each in answers
    )
    assert codes == {"token": 1, "SVD_REPLAYED": CALLS - 1}


def test_as_many_challenges_at_once_give_as_many_tokens(person: Person) -> None:
    challenges = [person.begin() for _ in range(10)]
    answers = at_once(10, lambda number: person.complete(challenges[number]))
    ids = {tokens.verify(each.json["token"])["jti"] for each in answers}  # type: ignore[union-attr]
    assert len(ids) == 10


def test_s1_of_twenty_registrations_of_a_user_one_wins(caller: Caller) -> None:
    people = [Person(caller, user_id="5a" * 12) for _ in range(20)]
    answers = at_once(20, lambda number: people[number].register().status_code)
    assert Counter(answers) == {201: 1, 409: 19}
    winner = people[answers.index(201)]
    assert login_keys.get("5a" * 12).public_key_hex == winner.public_key_hex
    assert winner.log_in()


def test_of_ten_changes_of_a_key_at_once_one_wins(person: Person) -> None:
    bodies = [person.rotation(Person(person.caller).key, person.nonce()) for _ in range(10)]
    answers = at_once(10, lambda number: person.post("rotate", bodies[number]).status_code)
    counts = Counter(answers)
    assert counts[200] == 1
    # Who came late found the key changed, at one step or another.
    assert set(counts) <= {200, 401, 409}
    row = login_keys.get(person.user_id)
    assert row.public_key_hex == bodies[answers.index(200)]["newPmcHex"]
    assert len(row.history) == 1


def test_s6_a_revoked_key_and_a_logout_count_at_once_for_every_worker(
    caller: Caller, person: Person, tmp_path: Path
) -> None:
    with gunicorn({**caller.lab.env, **UNLIMITED}, tmp_path / "log", WORKERS) as server:

        def begin_and_complete() -> tuple[int, Any]:
            _, begun = ask(server.url, "begin", {"userId": person.user_id})
            signature = person.sign(begun["M"])
            body = {"userId": person.user_id, "M": begun["M"], "signatureHex": signature}
            return ask(server.url, "complete", body)

        def log_out() -> int:
            headers = {"Authorization": f"Bearer {token}"}
            answer = requests.post(f"{server.url}/v1/auth/logout", headers=headers, timeout=60)
            return answer.status_code

        # Connections land on any worker: enough of them meet all.
        logins = [begin_and_complete() for _ in range(4 * WORKERS)]
        assert {status for status, _ in logins} == {200}
        token = logins[0][1]["token"]
        assert log_out() == 200
        assert {log_out() for _ in range(4 * WORKERS)} == {401}
        login_keys.revoke(person.user_id, "operator x")
        refused = [begin_and_complete() for _ in range(4 * WORKERS)]
    assert {(status, body["code"]) for status, body in refused} == {(401, "SVD_KEY_REVOKED")}
