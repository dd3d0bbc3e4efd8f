"""Redis, the signer or the database away: a refusal in time, and nothing used up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app import extensions
from app.clients.kms import KmsClient
from app.errors import UnavailableError
from app.services import challenges, login, login_metrics, signer_kid, tokens
from app.services.challenges import Purpose
from app.services.login_metrics import Event
from tests.integration.api.caller import Caller
from tests.integration.clients.scripted_server import Reply, ScriptedServer
from tests.integration.login.conftest import UNLIMITED
from tests.integration.login.people import Person, code_of


@contextmanager
def without(caller: Caller, part: str) -> Iterator[None]:
    """Stops a part of the world, and starts it again at the end."""
    caller.lab.devnet.stop(part)
    try:
        yield
    finally:
        caller.lab.devnet.start(part)


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    """A signer that says what it is told to."""
    server = ScriptedServer()
    yield server
    server.close()


def test_o13_without_redis_nobody_logs_in_and_nothing_is_called_a_replay(
    caller: Caller, person: Person
) -> None:
    challenge = person.begin()
    signature = person.sign(challenge)
    with without(caller, "redis"):
        for path, body in (
            ("begin", {"userId": person.user_id}),
            ("complete", {"userId": person.user_id, "M": challenge, "signatureHex": signature}),
            ("register-challenge", {"userId": person.user_id}),
        ):
            response = person.post(path, body)
            assert code_of(response) == (503, "service_unavailable"), path
            assert int(response.headers["Retry-After"]) > 0
    # Another process, which has not just met the outage.
    caller.start(**UNLIMITED)
    assert person.complete(challenge).status_code == 200


def test_o13_the_service_itself_refuses_without_redis(caller: Caller, person: Person) -> None:
    challenge = person.begin()
    nonce = person.nonce()
    with without(caller, "redis"):
        with pytest.raises(UnavailableError):
            login.begin(person.user_id)
        with pytest.raises(UnavailableError):
            login.complete(person.user_id, challenge, person.sign(challenge))
        with pytest.raises(UnavailableError):
            login.complete("00" * 12, challenge, person.sign(challenge))
        with pytest.raises(UnavailableError):
            challenges.consume(
                challenges.Challenge(Purpose.KEY, person.user_id, bytes.fromhex(nonce))
            )
        # What can't be counted is not.
        login_metrics.count(Event.INVALID, "svd-1")


def test_without_redis_no_token_is_taken(caller: Caller) -> None:
    token = tokens.issue("somebody")
    with without(caller, "redis"):
        response = caller.send_without_key(
            "POST", "/v1/auth/logout", headers={"Authorization": f"Bearer {token}"}
        )
    assert code_of(response) == (503, "service_unavailable")


def test_f16_without_the_signer_the_challenge_stays_good(caller: Caller, person: Person) -> None:
    challenge = person.begin()
    with without(caller, "signer"):
        response = person.complete(challenge)
        assert code_of(response) == (503, "signer_unavailable")
        assert int(response.headers["Retry-After"]) > 0
        # What is wrong is wrong without the signer too, and asks it nothing.
        assert code_of(person.complete(challenge, "30" * 35)) == (401, "SVD_INVALID_SIGNATURE")
    assert person.complete(challenge).status_code == 200


def test_o14_a_login_waits_for_the_signer_no_longer_than_its_budget(
    caller: Caller, person: Person, scripted: ScriptedServer
) -> None:
    caller.start(**UNLIMITED, KMS_SVD_URL=scripted.url, SVD_KMS_BUDGET_MS="300")
    budgets: list[float | None] = []
    derive = KmsClient.derive

    def noting(self: KmsClient, *arguments: object, **options: object) -> object:
        budgets.append(options["budget_seconds"])  # type: ignore[arg-type]
        return derive(self, *arguments, **options)  # type: ignore[arg-type]

    scripted.prepare(Reply(b"{}", delay_seconds=30))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(KmsClient, "derive", noting)
        assert code_of(person.complete(person.begin())) == (503, "signer_unavailable")
    assert budgets == [0.3]
    assert len(scripted.seen) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"no", 500),
        Reply(b'{"error":"unauthorized"}', 401),
        Reply(b'{"error":"bad"}', 400),
        Reply(b"<html>", 200),
        Reply(b'{"sharedSecretHex":"zz"}'),
        Reply(b'{"sharedSecretHex":""}'),
        Reply(b'{"sharedSecretHex":7}'),
        Reply(b'{"sharedSecretHex":"%s","kid":7}' % (b"ab" * 32)),
    ],
    ids=["500", "401", "400", "page", "no hex", "empty", "number", "kid"],
)
def test_an_odd_answer_of_the_signer_gives_no_token_and_uses_nothing_up(
    caller: Caller, person: Person, scripted: ScriptedServer, reply: Reply
) -> None:
    caller.start(**UNLIMITED, KMS_SVD_URL=scripted.url, SVD_KMS_BUDGET_MS="300")
    scripted.prepare(reply)
    challenge = person.begin()
    assert code_of(person.complete(challenge)) == (503, "signer_unavailable")
    scripted.prepare(Reply(b'{"sharedSecretHex":"%s","kid":"svd-new"}' % (b"ab" * 32)))
    assert person.complete(challenge).status_code == 200


def test_without_the_database_nobody_logs_in(caller: Caller, person: Person) -> None:
    challenge = person.begin()
    caller.start(
        **UNLIMITED,
        MONGODB_URI="mongodb://127.0.0.1:1/?directConnection=true",
        DB_SERVER_SELECTION_TIMEOUT_MS="100",
    )
    assert code_of(person.complete(challenge)) == (503, "service_unavailable")
    assert code_of(person.register()) == (503, "service_unavailable")
    caller.start(**UNLIMITED)
    assert person.complete(challenge).status_code == 200


def test_f34_kid_follows_the_signer(
    caller: Caller, person: Person, scripted: ScriptedServer
) -> None:
    caller.start(**UNLIMITED, KMS_SVD_URL=scripted.url, SVD_KMS_KID="svd-configured")
    secret = b"ab" * 32
    scripted.prepare(Reply(b'{"sharedSecretHex":"%s","kid":"svd-old"}' % secret))
    assert caller.get("/api/svd/kid").json == {"kid": "svd-old"}
    scripted.prepare(Reply(b'{"sharedSecretHex":"%s","kid":"svd-new"}' % secret))
    # Nobody asks the signer again so soon, but a login hears of it.
    assert caller.get("/api/svd/kid").json == {"kid": "svd-old"}
    assert person.complete(person.begin()).status_code == 200
    assert caller.get("/api/svd/kid").json == {"kid": "svd-new"}
    scripted.prepare(Reply(b'{"sharedSecretHex":"%s"}' % secret))
    assert person.complete(person.begin()).status_code == 200
    assert caller.get("/api/svd/kid").json == {"kid": "svd-configured"}


def test_kid_is_503_while_nobody_can_tell_it(
    caller: Caller, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller.start(**UNLIMITED, KMS_SVD_URL=scripted.url, SVD_KMS_BUDGET_MS="300")
    scripted.prepare(Reply(b"no", 500))
    for _ in range(3):
        assert code_of(caller.get("/api/svd/kid")) == (503, "service_unavailable")
    # Askers don't wear out a signer that fails.
    assert len(scripted.seen) == 1
    with pytest.raises(UnavailableError):
        signer_kid.active()
    assert signer_kid.known() == "svd-kms"
    monkeypatch.setattr(signer_kid, "_REST_SECONDS", 0.0)
    caller.start(**UNLIMITED, KMS_SVD_URL=scripted.url, SVD_KMS_BUDGET_MS="300")
    assert caller.get("/api/svd/kid").status_code == 503
    scripted.prepare(Reply(b'{"sharedSecretHex":"%s"}' % (b"ab" * 32)))
    assert caller.get("/api/svd/kid").json == {"kid": "svd-kms"}


def test_f13_the_canary_sings_while_a_login_would_work(caller: Caller, person: Person) -> None:
    person.log_in()
    response = caller.get("/api/svd/canary", headers={"x-api-key": caller.lab.env["API_KEY"]})
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json["ok"] is True
    assert response.json["kid"] == caller.get("/api/svd/kid").json["kid"]
    assert response.json["metrics"]["begin"] == response.json["metrics"]["complete"] == 1
    assert response.json["timestamp"].endswith("Z")
    assert extensions.get().redis.keys("svd:challenge:login:*")


@pytest.mark.parametrize("part", ["signer", "redis"])
def test_f13_the_canary_is_silent_while_none_would(caller: Caller, part: str) -> None:
    with without(caller, part):
        response = caller.get("/api/svd/canary", headers={"x-api-key": caller.lab.env["API_KEY"]})
    assert response.status_code == 503
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json["ok"] is False
    assert response.json["error"]["message"]


def test_the_canary_is_for_those_with_a_key(caller: Caller) -> None:
    response = caller.get("/api/svd/canary")
    assert response.status_code == 401
    assert response.json["code"] == "unauthorized"
