"""Logging in against a server that says what the test wants."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from patchproof_client import (
    AuthenticationError,
    ChallengeError,
    CodeError,
    LoginError,
    MissingCredentialsError,
    Network,
    NoAnswerError,
    OwnerKey,
    PatchProofClient,
    UnexpectedAnswerError,
)
from tests.integration.client_python.test_retrying import ACCEPTED, CUT, OWNER, TXID, refusal
from tests.integration.clients.scripted_server import WEB_PAGE, Reply, ScriptedServer, json_reply

[VECTOR, _] = json.loads(
    Path(__file__).parents[2].joinpath("vectors/svd.json").read_text(encoding="utf-8")
)["vectors"]
USER = VECTOR["user_id"]
KEY = OwnerKey.from_hex(VECTOR["pmc"], Network.MAIN)
BEGUN = json_reply({"M": VECTOR["challenge"], "pmcHex": None})


def token(name: str) -> str:
    claims = {"sub": name, "iat": 1_700_000_000, "exp": 1_700_000_900}
    return jwt.encode(claims, "a secret of more than thirty-two characters", algorithm="HS256")


def completed(name: str) -> Reply:
    return json_reply({"token": token(name)})


def paths(scripted: ScriptedServer) -> list[str]:
    return [seen.path.removeprefix("/api/svd/") for seen in scripted.seen]


def test_login_signs_the_challenge_with_its_one_time_key(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(BEGUN, completed("first"))
    client.login(USER, KEY)
    assert client.current_token() == token("first")
    begin, complete = scripted.seen
    assert begin.json == {"userId": USER}
    assert complete.json == {
        "userId": USER,
        "M": VECTOR["challenge"],
        "signatureHex": VECTOR["signature"],
    }


@pytest.mark.parametrize(
    "trouble",
    [
        refusal(409, "SVD_REPLAYED"),
        refusal(400, "SVD_EXPIRED"),
        refusal(400, "SVD_BAD_CHALLENGE"),
        json_reply({"error": "SVD_REPLAYED", "message": "older servers say it so"}, 409),
        CUT,
    ],
    ids=["replayed", "expired", "bad", "older", "cut"],
)
def test_a_challenge_that_is_over_is_followed_by_a_new_one(
    client: PatchProofClient, scripted: ScriptedServer, trouble: Reply
) -> None:
    scripted.prepare(BEGUN, trouble, BEGUN, completed("second"))
    client.login(USER, KEY)
    assert paths(scripted) == ["begin", "complete"] * 2
    assert client.current_token() == token("second")


@pytest.mark.parametrize(
    ("trouble", "error"), [(refusal(409, "SVD_REPLAYED"), ChallengeError), (CUT, NoAnswerError)]
)
def test_new_challenges_come_to_an_end(
    client: PatchProofClient,
    scripted: ScriptedServer,
    trouble: Reply,
    error: type[Exception],
) -> None:
    scripted.prepare(*[BEGUN, trouble] * 10)
    with pytest.raises(error):
        client.login(USER, KEY)
    assert paths(scripted) == ["begin", "complete"] * 3


@pytest.mark.parametrize("code", ["SVD_NO_PMC", "SVD_INVALID_SIGNATURE", "SVD_KEY_REVOKED"])
def test_a_wrong_key_is_tried_once(
    client: PatchProofClient, scripted: ScriptedServer, code: str
) -> None:
    scripted.prepare(BEGUN, refusal(401, code))
    with pytest.raises(LoginError) as refused:
        client.login(USER, KEY)
    assert refused.value.code == code
    assert paths(scripted) == ["begin", "complete"]
    with pytest.raises(MissingCredentialsError):
        client.current_token()


@pytest.mark.parametrize("odd", [None, 7, "", "xyz", VECTOR["challenge"][:46], "g" * 48])
def test_nothing_but_a_challenge_is_signed(
    client: PatchProofClient, scripted: ScriptedServer, odd: object
) -> None:
    scripted.prepare(json_reply({"M": odd}))
    with pytest.raises(UnexpectedAnswerError, match="M in the answer is not"):
        client.login(USER, KEY)
    assert paths(scripted) == ["begin"]


@pytest.mark.parametrize(
    "answer", [Reply(WEB_PAGE), json_reply({}), json_reply({"success": False})]
)
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.request_code("ada@example.org"),
        lambda client: client.register_login_key(USER, KEY, proves=False),
        lambda client: client.logout(),
    ],
    ids=["code", "key", "logout"],
)
def test_nothing_but_a_success_is_one(
    client: PatchProofClient,
    scripted: ScriptedServer,
    call: Callable[[PatchProofClient], None],
    answer: Reply,
) -> None:
    client.use_token("a.b.c")
    scripted.prepare(answer)
    with pytest.raises(UnexpectedAnswerError):
        call(client)


@pytest.mark.parametrize("odd", [None, 7, "", "no token", "a.b.c\r\nX-Evil: 1"])
def test_nothing_but_a_token_is_kept(
    client: PatchProofClient, scripted: ScriptedServer, odd: object
) -> None:
    scripted.prepare(BEGUN, json_reply({"token": odd}))
    with pytest.raises(UnexpectedAnswerError, match="token in the answer is not"):
        client.login(USER, KEY)
    with pytest.raises(MissingCredentialsError):
        client.current_token()
    with pytest.raises(ValueError, match="no token"):
        client.use_token(str(odd))


@pytest.mark.parametrize("code", ["token_expired", "token_invalid", "token_revoked"])
def test_token_that_is_over_is_renewed_where_that_was_allowed(
    client: PatchProofClient, scripted: ScriptedServer, code: str
) -> None:
    scripted.prepare(
        BEGUN, completed("first"), refusal(401, code), BEGUN, completed("second"), ACCEPTED
    )
    client.login(USER, KEY, renew=True)
    client.transfer("04A1", TXID, OWNER, OWNER.address)
    refused, repeated = scripted.seen[2], scripted.seen[5]
    assert refused.headers["Authorization"] == f"Bearer {token('first')}"
    assert repeated.headers["Authorization"] == f"Bearer {token('second')}"
    assert repeated.body == refused.body
    assert repeated.headers["Idempotency-Key"] == refused.headers["Idempotency-Key"]


def test_without_leave_a_token_that_is_over_is_an_error(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(BEGUN, completed("first"), refusal(401, "token_expired"))
    client.login(USER, KEY)
    with pytest.raises(AuthenticationError, match="token_expired"):
        client.transfer("04A1", TXID, OWNER, OWNER.address)
    assert len(scripted.seen) == 3


def test_renewed_token_that_is_refused_as_well_is_an_error(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    over = refusal(401, "token_invalid")
    scripted.prepare(BEGUN, completed("first"), over, BEGUN, completed("second"), over)
    client.login(USER, KEY, renew=True)
    with pytest.raises(AuthenticationError):
        client.transfer("04A1", TXID, OWNER, OWNER.address)
    assert len(scripted.seen) == 6


def test_logout_forgets_whatever_is_answered(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    client.use_token("a.b.c")
    scripted.prepare(refusal(401, "token_expired"))
    with pytest.raises(AuthenticationError):
        client.logout()
    with pytest.raises(MissingCredentialsError):
        client.logout()
    assert [seen.path for seen in scripted.seen] == ["/v1/auth/logout"]


def test_calls_without_their_credentials_send_nothing(
    scripted: ScriptedServer,
) -> None:
    with PatchProofClient(scripted.url) as client:
        with pytest.raises(MissingCredentialsError, match="API key"):
            client.register({"uid_tag_id": "04A1"}, OWNER.address)
        with pytest.raises(MissingCredentialsError, match="login"):
            client.export_data()
    assert scripted.seen == []


def test_mailed_code_logs_in(client: PatchProofClient, scripted: ScriptedServer) -> None:
    scripted.prepare(json_reply({"success": True, "message": "m"}))
    client.request_code("ada@example.org")
    refused = {"success": False, "message": "wrong", "reason": "InvalidCode"}
    scripted.prepare(json_reply(refused, 401), completed("ada"))
    with pytest.raises(CodeError):
        client.submit_code("ada@example.org", "123456")
    client.submit_code("ada@example.org", "654321")
    assert client.current_token() == token("ada")
    assert scripted.seen[-1].json == {"identifier": "ada@example.org", "code": "654321"}


def test_unlocking_whose_answer_got_lost_takes_a_new_nonce(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    unlocked = json_reply({"authorized": True, "uid_tag_id": "04A1", "txid": TXID, "content": "c"})
    scripted.prepare(json_reply({"nonce": "n1"}), CUT, json_reply({"nonce": "n2"}), unlocked)
    assert client.unlock("04A1", OWNER, current_txid=TXID).content == "c"
    assert [seen.json["nonce"] for seen in scripted.seen if seen.body] == ["n1", "n2"]
