"""Answers are read with their types, refusals in every shape of the contract."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import PatchProofError as ServiceError
from patchproof_client import errors
from patchproof_client.answers import (
    ApprovedClaim,
    ClaimStanding,
    CustodyEvent,
    Pending,
    Submitted,
    Unlocked,
    Verification,
)
from patchproof_client.errors import ApiError, PatchProofError, UnexpectedAnswerError
from patchproof_client.reading import Reply, read_refusal

PENDING = {"id": "i", "uid_tag_id": "u", "status": "pending", "txid": None, "error": None}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def reply(body: Any, status: int = 200) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, raw, "the-request")


def refuse(body: Any, status: int) -> ApiError:
    error = read_refusal(reply(body, status))
    assert isinstance(error, ApiError)
    return error


def test_refusal_of_the_service() -> None:
    error = refuse(
        {
            "error": {
                "name": "InvalidInputError",
                "message": "auth.owner must be an address",
                "code": "invalid_request",
                "status": 400,
                "details": [{"field": "auth.owner", "message": "must be an address"}, "old", 7],
            },
            "code": "invalid_request",
            "message": "auth.owner must be an address",
        },
        400,
    )
    assert type(error) is errors.InvalidRequestError
    assert (error.status, error.code, error.request_id) == (400, "invalid_request", "the-request")
    assert [(each.field, each.message) for each in error.details] == [
        ("auth.owner", "must be an address"),
        ("", "old"),
        ("", ""),
    ]
    assert str(error) == (
        "the API answers 400 invalid_request: auth.owner must be an address (request the-request)"
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": "SVD_REPLAYED", "message": "used"}, "SVD_REPLAYED"),
        ({"code": "SVD_REPLAYED", "error": "used"}, "SVD_REPLAYED"),
        ({"success": False, "message": "no", "reason": "InvalidCode"}, "InvalidCode"),
        ({"error": {"message": "not here"}}, "http_409"),
        ({"status": "not_found", "message": "no patch"}, "http_409"),
        ({"success": False, "error": "it is running"}, "http_409"),
        ({}, "http_409"),
    ],
)
def test_older_shapes_are_understood(body: Any, code: str) -> None:
    error = refuse(body, 409)
    assert error.code == code
    assert error.message


@pytest.mark.parametrize(
    ("status", "code", "family"),
    [
        (401, "unauthorized", errors.AuthenticationError),
        (401, "token_expired", errors.AuthenticationError),
        (401, "SVD_INVALID_SIGNATURE", errors.LoginError),
        (409, "SVD_REPLAYED", errors.ChallengeError),
        (400, "SVD_EXPIRED", errors.ChallengeError),
        (409, "DUPLICATE_PMC", errors.LoginError),
        (401, "invalid_code", errors.CodeError),
        (403, "not_owner", errors.PermissionDeniedError),
        (404, "not_found", errors.NotFoundError),
        (409, "patch_already_registered", errors.AlreadyRegisteredError),
        (409, "patch_moved", errors.PatchMovedError),
        (409, "idempotency_in_progress", errors.IdempotencyError),
        (422, "idempotency_key_reused", errors.IdempotencyError),
        (413, "payload_too_large", errors.InvalidRequestError),
        (429, "rate_limited", errors.RateLimitedError),
        (500, "internal_error", errors.ServerError),
        (503, "pool_empty", errors.UnavailableError),
        # Nobody has heard of these.
        (409, "tag_is_cursed", errors.ConflictError),
        (418, "teapot", ApiError),
        (599, "odd", errors.ServerError),
    ],
)
def test_each_code_has_its_family(status: int, code: str, family: type[ApiError]) -> None:
    error = refuse({"code": code, "message": "words"}, status)
    assert type(error) is family
    assert (error.status, error.code, error.message) == (status, code, "words")


def test_every_code_of_the_service_is_read_as_it_is() -> None:
    classes: list[type[ServiceError]] = [ServiceError]
    while classes:
        cls = classes.pop()
        classes.extend(cls.__subclasses__())
        assert refuse({"code": cls.code, "message": "m"}, 400).code == cls.code


def test_words_of_a_server_are_one_short_line() -> None:
    error = refuse({"code": "x\nforged: line", "message": "a\r\nb\x1b[31m" + "c" * 1000}, 400)
    assert error.code == "http_400"
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 500


@given(json_values, st.sampled_from([200, 202, 301, 400, 401, 409, 429, 500, 503]))
def test_whatever_json_comes_is_a_typed_error(body: Any, status: int) -> None:
    assert isinstance(read_refusal(reply(body, status)), PatchProofError)


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_unexpected(body: bytes) -> None:
    assert type(read_refusal(reply(body, 502))) is UnexpectedAnswerError
    with pytest.raises(UnexpectedAnswerError, match="status 200, request the-request"):
        _ = reply(body).members


READERS = {
    "pending": Pending.read,
    "verification": Verification.read,
    "event": CustodyEvent.read,
    "unlocked": Unlocked.read,
    "approved": ApprovedClaim.read,
    "standing": ClaimStanding.read,
}


@pytest.mark.parametrize("name", READERS)
@given(body=st.dictionaries(st.text(max_size=8), json_values))
def test_success_of_another_shape_is_unexpected(name: str, body: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswerError):
        READERS[name](reply(body).members)


@pytest.mark.parametrize("name", PENDING)
@pytest.mark.parametrize("value", [7, True, [], {}, 1.5])
def test_wrong_type_is_named_and_not_repeated(name: str, value: Any) -> None:
    with pytest.raises(UnexpectedAnswerError, match=f"{name} in the answer is not a string"):
        Pending.read(reply({**PENDING, name: value}).members)


def test_a_boolean_is_no_number_and_a_member_too_many_is_passed_over() -> None:
    event = {
        "kind": "TRANSFER",
        "txid": "t",
        "anchor_txid": "a",
        "prev_txid": "p",
        "owner": "o",
        "occurred_at": "2026",
        "block_height": 7,
        "confirmations": 1,
        "new": {"member": 1},
    }
    assert CustodyEvent.read(reply(event).members).block_height == 7
    with pytest.raises(UnexpectedAnswerError, match="block_height in the answer is not an integer"):
        CustodyEvent.read(reply({**event, "block_height": True}).members)
    with pytest.raises(UnexpectedAnswerError, match="kind in the answer is not one of REG"):
        CustodyEvent.read(reply({**event, "kind": "GIFT"}).members)


def test_path_of_a_nested_member_is_told() -> None:
    body = {"events": [{}, 7]}
    events = list(reply({"events": [{}]}).members.objects("events"))
    with pytest.raises(UnexpectedAnswerError, match=r"events\.0\.kind in the answer"):
        CustodyEvent.read(events[0])
    with pytest.raises(UnexpectedAnswerError, match=r"events\.1 in the answer is not an object"):
        list(reply(body).members.objects("events"))


def test_unlocking_that_authorises_nobody_is_no_success() -> None:
    body = {"authorized": False, "uid_tag_id": "u", "txid": "t"}
    with pytest.raises(UnexpectedAnswerError, match="authorises nobody"):
        Unlocked.read(reply(body).members)


def test_acceptance_with_a_queue_and_without() -> None:
    queued = Submitted.read("transfer", "u", reply({"pendingId": "p"}, 202))
    assert (queued.pending_id, queued.txid) == ("p", None)
    registered = Submitted.read(
        "registration", "u", reply({"txid": "t", "certificateUrl": "c"}, 201)
    )
    assert (registered.pending_id, registered.txid, registered.certificate_url) == (None, "t", "c")
    assert Submitted.read("transfer", "u", reply({"newTxid": "n"})).txid == "n"
    with pytest.raises(UnexpectedAnswerError):
        Submitted.read("registration", "u", reply({"txid": "t"}, 202))
