"""Section 3: login by a mailed code and by key, as older clients do it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from app.services import login_keys
from tests.contracts.contract.people import Person
from tests.contracts.contract.wire import Wire, code_of, fields_of, new_user
from tests.integration.mail.lab import code_in, read_mails

ASK = "/v1/auth/request-verification"
SUBMIT = "/v1/auth/submit-verification"


@pytest.fixture
def address() -> str:
    return f"{new_user()}@home.example"


def mailed_code(wire: Wire, address: str) -> str:
    """Asks for a code and reads it in the mail."""
    answer = wire.post(ASK, {"identifier": address})
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    mails = read_mails(Path(wire.lab.env["MAIL_DIR"]))
    (code, *_) = [code_in(mail) for mail in reversed(mails) if mail["X-Envelope-To"] == address]
    assert code not in answer.text
    return code


def claims_of(wire: Wire, token: str) -> dict[str, Any]:
    options = {"verify_aud": False}
    secret = wire.lab.env["JWT_SECRET"]
    return dict(jwt.decode(token, secret, algorithms=["HS256"], options=options))


# 3.1, 3.2: the code


def test_3_1_a_code_has_six_digits_and_replaces_the_one_before(wire: Wire, address: str) -> None:
    first = mailed_code(wire, address)
    second = mailed_code(wire, address)

    assert all(re.fullmatch(r"[1-9]\d{5}", code) for code in (first, second))
    if first != second:
        body = {"identifier": address, "code": first}
        assert wire.post(SUBMIT, body).json()["reason"] == "InvalidCode"
    assert wire.post(SUBMIT, {"identifier": address, "code": second}).status_code == 200


def test_3_1_a_code_is_kept_hashed_for_15_minutes(wire: Wire, address: str) -> None:
    code = mailed_code(wire, address)

    row = wire.lab.collection("verification_codes").find_one({"identifier": address})

    assert row["code_hash"].startswith("$2b$")
    assert code not in str(row)
    assert (row["expires_at"] - row["requested_at"]).total_seconds() == pytest.approx(900, abs=60)


def test_3_1_an_address_is_trimmed_and_lower_cased(wire: Wire, address: str) -> None:
    code = mailed_code(wire, address)

    spelled = {"identifier": f"  {address.upper()} ", "code": code}
    assert wire.post(SUBMIT, spelled).status_code == 200


@pytest.mark.parametrize("body", [{}, {"identifier": None}, {"identifier": ""}, {"identifier": 5}])
def test_3_1_bad_addresses_are_400(wire: Wire, body: dict[str, Any]) -> None:
    response = wire.post(ASK, body)

    assert (response.status_code, fields_of(response)) == (400, {"identifier"})


def test_3_2_the_token_is_that_of_the_contract(wire: Wire, address: str) -> None:
    code = mailed_code(wire, address)
    now = time.time()

    answer = wire.post(SUBMIT, {"identifier": address, "code": code})

    assert (answer.status_code, set(answer.json())) == (200, {"success", "token"})
    token = answer.json()["token"]
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = claims_of(wire, token)
    assert (claims["sub"], claims["aud"]) == (address, "patchproof:api")
    assert claims["iss"] == "patchproof:auth-service"
    assert claims["exp"] - claims["iat"] == 24 * 60 * 60
    assert abs(claims["iat"] - now) < 120
    bearer = {"Authorization": f"Bearer {token}"}
    assert wire.get("/v1/privacy/export", headers=bearer).status_code == 200


def test_3_2_a_code_gives_one_token(wire: Wire, address: str) -> None:
    body = {"identifier": address, "code": mailed_code(wire, address)}
    assert wire.post(SUBMIT, body).status_code == 200

    again = wire.post(SUBMIT, body)

    assert code_of(again) == (401, "code_not_found")
    assert again.json()["reason"] == "NotFoundOrExpired"
    assert again.json()["success"] is False


def test_3_2_a_wrong_code_is_401_and_leaves_the_right_one(wire: Wire, address: str) -> None:
    code = mailed_code(wire, address)
    wrong = "123456" if code != "123456" else "123457"

    refused = wire.post(SUBMIT, {"identifier": address, "code": wrong})

    assert code_of(refused) == (401, "invalid_code")
    assert refused.json()["reason"] == "InvalidCode"
    assert wire.post(SUBMIT, {"identifier": address, "code": code}).status_code == 200


@pytest.mark.parametrize(
    "code", ["12345", "1234567", "12345a", "\u0661\u0662\u0663\u0664\u0665\u0666", 123456, None, ""]
)
def test_3_2_what_is_no_code_is_400(wire: Wire, address: str, code: Any) -> None:
    response = wire.post(SUBMIT, {"identifier": address, "code": code})

    assert (response.status_code, fields_of(response)) == (400, {"code"})


# 3.3: register


def test_3_3_a_first_key_is_201(wire: Wire) -> None:
    answer = Person(wire).register()

    assert (answer.status_code, answer.json()["success"]) == (201, True)
    assert answer.json()["message"]


def test_3_3_a_second_key_is_409_and_the_first_stays(wire: Wire) -> None:
    person = Person(wire)
    person.register()

    thief = Person(wire, user_id=person.user_id)

    assert code_of(thief.register()) == (409, "DUPLICATE_PMC")
    assert code_of(person.register()) == (409, "DUPLICATE_PMC")
    assert thief.log_in().status_code == 401
    assert person.log_in().status_code == 200


@pytest.mark.parametrize("prefix", ["04", "05", "02"])
def test_3_3_what_is_no_point_is_400_validation_error(wire: Wire, prefix: str) -> None:
    body = {"userId": new_user(), "pmcHex": prefix + "ff" * 32}

    assert code_of(wire.post("/api/svd/register", body)) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("register", {"userId": "x" * 24, "pmcHex": "02" * 33}, "userId"),
        ("register", {"userId": "ab" * 12, "pmcHex": "02" * 32}, "pmcHex"),
        ("begin", {"userId": "ab" * 11}, "userId"),
        ("begin", {}, "userId"),
        ("complete", {"userId": "ab" * 12, "M": "ab", "signatureHex": "ab" * 5}, "M"),
        (
            "complete",
            {"userId": "ab" * 12, "M": "ab" * 24, "signatureHex": "ab" * 4},
            "signatureHex",
        ),
    ],
)
def test_3_3_fields_have_the_lengths_of_the_contract(
    wire: Wire, path: str, body: dict[str, Any], field: str
) -> None:
    response = wire.post(f"/api/svd/{path}", body)

    assert (response.status_code, fields_of(response)) == (400, {field})


def test_3_3_in_production_the_key_signs(wire: Wire) -> None:
    wire.start(SVD_REGISTER_PROOF="1")

    assert wire.post(
        "/api/svd/register", {"userId": new_user(), "pmcHex": Person(wire).public_key_hex}
    ).status_code in (400, 401)


# 3.4, 3.5: a login


def test_3_4_begin_answers_a_challenge_and_the_property_that_clients_look_for(wire: Wire) -> None:
    person = Person(wire)
    person.register()

    answers = [
        wire.post("/api/svd/begin", {"userId": user}) for user in (person.user_id, new_user())
    ]

    for answer in answers:
        assert answer.status_code == 200
        assert re.fullmatch(r"[0-9a-f]{48}", answer.json()["M"])
        assert answer.json()["pmcHex"] is None
        assert answer.headers["Cache-Control"] == "no-store"


def test_3_5_complete_gives_a_token(wire: Wire) -> None:
    person = Person(wire)
    person.register()

    answer = person.log_in()

    assert (answer.status_code, set(answer.json())) == (200, {"token"})
    assert answer.headers["Cache-Control"] == "no-store"


def test_3_5_failures_have_the_contracts_words(wire: Wire) -> None:
    person, other, stranger = Person(wire), Person(wire), Person(wire)
    person.register()
    other.register()
    used = person.begin()
    assert person.complete(used).status_code == 200
    challenge = person.begin()
    of_other = other.begin()

    assert code_of(stranger.complete(stranger.begin())) == (400, "SVD_NO_PMC")
    assert code_of(person.complete(used)) == (409, "SVD_REPLAYED")
    never = "0000000065000000" + "ab" * 16
    assert code_of(person.complete(never)) == (400, "SVD_EXPIRED")
    assert code_of(person.complete(of_other)) == (400, "SVD_BAD_CHALLENGE")
    for wrong in (other.sign(challenge), person.raised_s(challenge), "ab" * 35, "3045022100ab"):
        assert code_of(person.complete(challenge, wrong)) == (401, "SVD_INVALID_SIGNATURE")
    # None of them has burnt the challenge.
    assert person.complete(challenge.upper()).status_code == 200


def test_3_5_a_revoked_key_is_401(wire: Wire) -> None:
    person = Person(wire)
    person.register()
    login_keys.revoke(person.user_id, "a test")

    assert code_of(person.log_in()) == (401, "SVD_KEY_REVOKED")


def test_3_5_the_signer_away_is_503_and_the_challenge_stays(wire: Wire) -> None:
    person = Person(wire)
    person.register()
    challenge = person.begin()
    wire.start(KMS_SVD_URL="http://127.0.0.1:1", KMS_SIGN_RETRY_ATTEMPTS="1")

    assert code_of(person.complete(challenge)) == (503, "signer_unavailable")
    wire.start()
    assert person.complete(challenge).status_code == 200


def test_3_5_f21_an_old_client_begins_again_by_the_top_level_code(wire: Wire) -> None:
    person = Person(wire)
    person.register()
    stale = person.begin()
    assert person.complete(stale).status_code == 200

    # What the older kit does: one retry, by this member of the body and no other.
    answer = person.complete(stale)
    tries = 1
    while answer.json().get("code") in ("SVD_EXPIRED", "SVD_REPLAYED") and tries < 3:
        answer = person.complete(person.begin())
        tries += 1

    assert (answer.status_code, tries) == (200, 2)
    # And what it prints of a failure says something.
    assert "SVD_" in str(person.complete(stale).json()["error"])


# 3.6 to 3.10


def test_3_6_kid_names_the_signers_key(wire: Wire) -> None:
    answer = wire.get("/api/svd/kid")

    assert (answer.status_code, set(answer.json())) == (200, {"kid"})
    assert re.fullmatch(r"svd-[0-9a-f]{16}", answer.json()["kid"])
    assert answer.headers["Cache-Control"] == "public, max-age=300"


def test_3_6_without_anybody_to_tell_it_is_503(wire: Wire) -> None:
    wire.start(KMS_SVD_URL="http://127.0.0.1:1", KMS_SIGN_RETRY_ATTEMPTS="1")

    assert code_of(wire.get("/api/svd/kid")) == (503, "service_unavailable")


def test_3_6_the_operator_may_name_it(wire: Wire) -> None:
    wire.start(KMS_SVD_URL="http://127.0.0.1:1", KMS_SIGN_RETRY_ATTEMPTS="1", SVD_KMS_KID="kms-7")

    assert wire.get("/api/svd/kid").json() == {"kid": "kms-7"}


def test_3_7_canary_sings(wire: Wire) -> None:
    answer = wire.get("/api/svd/canary", headers=wire.key)

    assert answer.status_code == 200
    assert set(answer.json()) == {"ok", "kid", "metrics", "timestamp"}
    assert answer.json()["ok"] is True
    assert isinstance(answer.json()["metrics"], dict)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer.json()["timestamp"])


def test_3_7_a_canary_that_can_not_sing_is_503(wire: Wire) -> None:
    wire.start(KMS_SVD_URL="http://127.0.0.1:1", KMS_SIGN_RETRY_ATTEMPTS="1")

    answer = wire.get("/api/svd/canary", headers=wire.key)

    assert (answer.status_code, answer.json()["ok"]) == (503, False)
    assert answer.json()["error"]["message"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_3_8_a_nonce_says_until_when_it_is_good(wire: Wire) -> None:
    answer = wire.post("/api/svd/register-challenge", {"userId": new_user()})

    assert (answer.status_code, set(answer.json())) == (200, {"nonce", "expiresAt"})
    assert re.fullmatch(r"[0-9a-f]{48}", answer.json()["nonce"])
    assert answer.headers["Cache-Control"] == "no-store"


def test_3_9_rotating_needs_everything_and_both_signatures(wire: Wire) -> None:
    answer = wire.post("/api/svd/rotate", {"userId": new_user()})

    assert answer.status_code == 400
    assert fields_of(answer) == {"newPmcHex", "nonce", "signatureHex", "newSignatureHex"}


def test_3_10_a_token_that_was_logged_out_is_401_everywhere(wire: Wire) -> None:
    token = wire.token()

    assert wire.post("/v1/auth/logout", headers=token).json()["success"] is True
    for path in ("/v1/auth/logout", "/v1/privacy/keys"):
        assert code_of(wire.post(path, headers=token)) == (401, "token_revoked")
