"""What the client repeats when servers die, hang, refuse or lie, and what it never does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from patchproof_client import (
    AlreadyRegisteredError,
    ClaimEndedError,
    ClientClosedError,
    IdempotencyError,
    Network,
    NoAnswerError,
    OwnerKey,
    PatchProofClient,
    PatchProofError,
    Polling,
    RateLimitedError,
    RecordFailedError,
    RetryPolicy,
    ServerError,
    StillPendingError,
    Submitted,
    UnavailableError,
    UnexpectedAnswerError,
)
from patchproof_client import transport as transport_module
from tests.integration.client_python.conftest import API_KEY, MakeClient
from tests.integration.clients.scripted_server import (
    WEB_PAGE,
    Reply,
    ScriptedServer,
    json_reply,
)

OWNER = OwnerKey.from_hex("11" * 32, Network.REGTEST)
TXID = "aa" * 32
ACCEPTED = json_reply({"pendingId": "p1", "uid_tag_id": "04A1", "jobId": None, "message": "m"}, 202)
HISTORY = json_reply({"uid_tag_id": "04A1", "events": []})
CUT = Reply(is_cut=True)
HALF = Reply(b'{"events":', missing_bytes=50)
PAGE = Reply(WEB_PAGE, 502)
SUBMITTED = Submitted("registration", "04A1", "p1")
QUICK_POLLING = Polling(first_seconds=0.001, longest_seconds=0.01)


def refusal(status: int, code: str, **headers: str) -> Reply:
    reply = json_reply({"code": code, "message": "words", "error": {"code": code}}, status)
    return Reply(reply.body, status, headers)


def pending(status: str, txid: str | None = None, error: str | None = None) -> Reply:
    members = {"id": "p1", "uid_tag_id": "04A1", "status": status, "txid": txid, "error": error}
    return json_reply(members)


def register(client: PatchProofClient) -> object:
    return client.register({"uid_tag_id": "04A1"}, OWNER.address)


def transfer(client: PatchProofClient) -> object:
    client.use_token("a.b.c")
    return client.transfer("04A1", TXID, OWNER, OWNER.address)


def history(client: PatchProofClient) -> object:
    return client.history("04A1")


REPEATED: dict[str, tuple[Callable[[PatchProofClient], object], Reply]] = {
    "register": (register, ACCEPTED),
    "transfer": (transfer, ACCEPTED),
    "history": (history, HISTORY),
    "challenge": (lambda c: c.create_unlock_challenge("04A1"), json_reply({"nonce": "n"})),
}
NOT_REPEATED: dict[str, Callable[[PatchProofClient], object]] = {
    "claim": lambda client: client.create_claim("04A1", OWNER, "user"),
    "approval": lambda client: client.approve_claim("c1", "Ada"),
    "code": lambda client: client.request_code("ada@example.org"),
    "submit": lambda client: client.submit_code("ada@example.org", "123456"),
    "key": lambda client: client.register_login_key("ab" * 12, OWNER, proves=False),
    "unlock": lambda client: client.unlock_with_nonce(
        "04A1", nonce="n", public_key_hex=OWNER.public_key_hex, signature_hex="30"
    ),
}
TROUBLE = {
    "cut": CUT,
    "half": HALF,
    "page": PAGE,
    "unavailable": refusal(503, "service_unavailable"),
}


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("name", REPEATED)
def test_m1_what_is_safe_to_repeat_is_repeated(
    client: PatchProofClient, scripted: ScriptedServer, name: str, trouble: str
) -> None:
    call, success = REPEATED[name]
    scripted.prepare(TROUBLE[trouble], TROUBLE[trouble], success)
    call(client)
    assert len(scripted.seen) == 3
    first = scripted.seen[0]
    for again in scripted.seen[1:]:
        assert (again.method, again.path, again.body) == (first.method, first.path, first.body)
        for header in ("Idempotency-Key", "X-Request-Id"):
            assert again.headers.get(header) == first.headers.get(header), header
    assert ("Idempotency-Key" in first.headers) == (name in ("register", "transfer"))


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("name", NOT_REPEATED)
def test_m1_what_might_happen_twice_is_not(
    client: PatchProofClient, scripted: ScriptedServer, name: str, trouble: str
) -> None:
    scripted.prepare(TROUBLE[trouble])
    with pytest.raises((NoAnswerError, UnexpectedAnswerError, UnavailableError)) as failed:
        NOT_REPEATED[name](client)
    assert len(scripted.seen) == 1
    if isinstance(failed.value, NoAnswerError):
        assert failed.value.was_sent
        assert failed.value.request_id == scripted.seen[0].headers["X-Request-Id"]


@pytest.mark.parametrize("name", NOT_REPEATED)
def test_what_was_refused_before_anything_was_done_is_repeated_always(
    client: PatchProofClient, scripted: ScriptedServer, name: str
) -> None:
    scripted.prepare(refusal(429, "rate_limited"), refusal(418, "teapot"))
    with pytest.raises(PatchProofError, match="418"):
        NOT_REPEATED[name](client)
    assert len(scripted.seen) == 2


def test_a_service_that_is_not_there_is_asked_again_and_nothing_was_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        policy = RetryPolicy(tries=3, first_delay_seconds=0.001)
        with PatchProofClient(
            f"http://127.0.0.1:{taken.getsockname()[1]}", retries=policy
        ) as client:
            with pytest.raises(NoAnswerError) as failed:
                client.request_code("ada@example.org")
    assert not failed.value.was_sent


def test_first_try_that_was_sent_is_not_forgotten(
    client: PatchProofClient, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.prepare(CUT)
    # Between the tries the service goes away for good.
    monkeypatch.setattr(
        client._transport, "pause", lambda seconds: scripted.close() if seconds else None
    )
    with pytest.raises(NoAnswerError) as failed:
        register(client)
    assert len(scripted.seen) == 1
    assert failed.value.was_sent


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500])
def test_other_refusals_are_final(
    client: PatchProofClient, scripted: ScriptedServer, status: int
) -> None:
    scripted.prepare(refusal(status, "some_code"))
    with pytest.raises(PatchProofError):
        register(client)
    assert len(scripted.seen) == 1


def test_tries_end(client: PatchProofClient, scripted: ScriptedServer) -> None:
    scripted.prepare(refusal(503, "pool_empty"))
    with pytest.raises(UnavailableError) as failed:
        register(client)
    assert failed.value.code == "pool_empty"
    assert len(scripted.seen) == 4


def test_first_request_at_work_is_waited_for(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(CUT, refusal(409, "idempotency_in_progress"), ACCEPTED)
    register(client)
    assert len({seen.headers["Idempotency-Key"] for seen in scripted.seen}) == 1


def test_key_that_came_with_another_request_is_final(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(refusal(422, "idempotency_key_reused"))
    with pytest.raises(IdempotencyError):
        client.register({"uid_tag_id": "04A1"}, OWNER.address, idempotency_key="my-own")
    assert [seen.headers["Idempotency-Key"] for seen in scripted.seen] == ["my-own"]


def test_two_registrations_have_two_keys(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(ACCEPTED, refusal(409, "patch_already_registered"))
    register(client)
    with pytest.raises(AlreadyRegisteredError):
        register(client)
    first, second = (seen.headers["Idempotency-Key"] for seen in scripted.seen)
    assert first != second


@pytest.fixture
def pauses(client: PatchProofClient, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client would have made."""
    made: list[float] = []
    monkeypatch.setattr(
        client._transport, "pause", lambda seconds: made.append(seconds) if seconds else None
    )
    return made


def test_retry_after_is_honoured(
    client: PatchProofClient, scripted: ScriptedServer, pauses: list[float]
) -> None:
    scripted.prepare(refusal(429, "rate_limited", **{"Retry-After": "7"}), HISTORY)
    client.history("04A1")
    assert pauses == [7.0]


def test_retry_after_may_be_a_date(
    client: PatchProofClient, scripted: ScriptedServer, pauses: list[float]
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    scripted.prepare(refusal(503, "service_unavailable", **{"Retry-After": date}), HISTORY)
    client.history("04A1")
    assert len(pauses) == 1
    assert 0 < pauses[0] <= 30


@pytest.mark.parametrize("odd", ["", "soon", "-1", "1.5", "9" * 400, "Thu, 99 Foo 2026", "٣"])
def test_odd_retry_after_is_no_wish_or_too_long_a_one(
    client: PatchProofClient, scripted: ScriptedServer, pauses: list[float], odd: str
) -> None:
    encoded = odd.encode().decode("latin-1")
    scripted.prepare(refusal(429, "rate_limited", **{"Retry-After": encoded}), HISTORY)
    if odd.startswith("9"):
        with pytest.raises(RateLimitedError):
            client.history("04A1")
        assert pauses == []
    else:
        client.history("04A1")
        assert max(pauses) < 0.01


def test_pause_that_is_too_long_is_the_callers_to_make(
    client: PatchProofClient, scripted: ScriptedServer, pauses: list[float]
) -> None:
    scripted.prepare(refusal(429, "rate_limited", **{"Retry-After": "3600"}))
    with pytest.raises(RateLimitedError) as limited:
        client.history("04A1")
    assert limited.value.retry_after_seconds == 3600
    assert pauses == []
    assert len(scripted.seen) == 1


def test_pauses_grow_and_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = RetryPolicy(first_delay_seconds=0.5, max_delay_seconds=3.0)
    monkeypatch.setattr(transport_module.random, "uniform", lambda low, high: high)
    assert [policy.delay_seconds(retry) for retry in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    monkeypatch.undo()
    assert len({policy.delay_seconds(2) for _ in range(20)}) > 1
    assert all(0 <= policy.delay_seconds(9) <= 3.0 for _ in range(100))


@pytest.mark.parametrize(
    "slow",
    [Reply(b"{}", delay_seconds=30.0), Reply(b'{"events": []}', drip_seconds=0.2)],
    ids=["silent", "dripping"],
)
def test_all_tries_together_have_an_end(
    make_client: MakeClient, scripted: ScriptedServer, slow: Reply
) -> None:
    scripted.prepare(slow)
    client = make_client(RetryPolicy(timeout_seconds=0.3, max_elapsed_seconds=1.0))
    with pytest.raises(NoAnswerError):
        client.history("04A1")
    assert len(scripted.seen) < client._transport.policy.tries


def test_answer_without_end_is_given_up(
    client: PatchProofClient, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "MAX_ANSWER_BYTES", 1000)
    scripted.prepare(Reply(b'"' + b"x" * 5000 + b'"'))
    with pytest.raises(NoAnswerError):
        client.history("04A1")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed_with_the_key(
    client: PatchProofClient, scripted: ScriptedServer, status: int
) -> None:
    scripted.prepare(Reply(b"", status, {"Location": f"{scripted.url}/elsewhere"}))
    with pytest.raises(UnexpectedAnswerError, match=f"status {status}"):
        register(client)
    assert [seen.path for seen in scripted.seen] == ["/v1/patches"]


def test_key_goes_only_where_it_is_needed(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(HISTORY, ACCEPTED, ACCEPTED)
    client.history("04A1")
    register(client)
    transfer(client)
    asked, registered, moved = (seen.headers for seen in scripted.seen)
    assert "x-api-key" not in asked
    assert "Authorization" not in asked
    assert registered["x-api-key"] == API_KEY
    assert "Authorization" not in registered
    assert moved["Authorization"] == "Bearer a.b.c"
    assert "x-api-key" not in moved


def test_netrc_and_cookies_are_not_used(
    client: PatchProofClient,
    scripted: ScriptedServer,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login thief password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    cookie = Reply(HISTORY.body, 200, {"Set-Cookie": "session=1; Path=/"})
    scripted.prepare(cookie, HISTORY, ACCEPTED)
    client.history("04A1")
    client.history("04A1")
    transfer(client)
    assert "Authorization" not in scripted.seen[0].headers
    assert all("Cookie" not in seen.headers for seen in scripted.seen)
    assert scripted.seen[2].headers["Authorization"] == "Bearer a.b.c"


def test_waiting_sits_an_outage_out(client: PatchProofClient, scripted: ScriptedServer) -> None:
    outage = [CUT, PAGE, refusal(503, "service_unavailable"), refusal(429, "rate_limited")] * 3
    scripted.prepare(
        pending("pending"), *outage, pending("anchoring", TXID), pending("confirmed", TXID)
    )
    assert client.wait_until_confirmed(SUBMITTED, timeout_seconds=60, polling=QUICK_POLLING) == TXID


def test_waiting_ends_with_a_failed_record(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(pending("pending"), pending("failed", error="refused five times"))
    with pytest.raises(RecordFailedError, match="registration of 04A1 failed: refused five times"):
        client.wait_until_confirmed(SUBMITTED, timeout_seconds=60, polling=QUICK_POLLING)


def test_waiting_has_an_end_and_says_what_for(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(pending("pending", error="the pool is empty"))
    with pytest.raises(StillPendingError, match=r"still pending \(the pool is empty\) after 0 sec"):
        client.wait_until_confirmed(SUBMITTED, timeout_seconds=0.05, polling=QUICK_POLLING)
    scripted.prepare(CUT)
    with pytest.raises(StillPendingError, match="no answer after 0 seconds, then: no answer"):
        client.wait_until_confirmed(SUBMITTED, timeout_seconds=0.05, polling=QUICK_POLLING)


@pytest.mark.parametrize("reply", [refusal(404, "not_found"), Reply(WEB_PAGE), refusal(500, "x")])
def test_waiting_does_not_sit_out_what_will_not_change(
    client: PatchProofClient, scripted: ScriptedServer, reply: Reply
) -> None:
    scripted.prepare(reply)
    with pytest.raises((PatchProofError, ServerError)) as failed:
        client.wait_until_confirmed(SUBMITTED, timeout_seconds=60, polling=QUICK_POLLING)
    assert not isinstance(failed.value, StillPendingError)


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_waiting_for_a_claim_ends_with_it(
    client: PatchProofClient, scripted: ScriptedServer, status: str
) -> None:
    standing = {"id": "c1", "txid": None, "error": "moved", "approvedBy": None}
    scripted.prepare(
        json_reply({**standing, "status": "pending"}),
        CUT,
        json_reply({**standing, "status": "approved"}),
        json_reply({**standing, "status": status}),
    )
    with pytest.raises(ClaimEndedError, match=f"the claim c1 has {status}: moved") as ended:
        client.wait_for_claim("c1", timeout_seconds=60, polling=QUICK_POLLING)
    assert ended.value.status == status


def test_what_is_confirmed_already_is_not_asked_for(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    assert client.wait_until_confirmed(Submitted("transfer", "04A1", txid=TXID)) == TXID
    assert scripted.seen == []
    with pytest.raises(ValueError, match="nothing to ask for"):
        client.wait_until_confirmed(Submitted("transfer", "04A1"))


def test_closing_ends_waits_in_other_threads(
    client: PatchProofClient, scripted: ScriptedServer
) -> None:
    scripted.prepare(pending("pending"))
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            client.wait_until_confirmed(
                SUBMITTED, timeout_seconds=600, polling=Polling(first_seconds=300)
            )
        except ClientClosedError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not scripted.seen:
        time.sleep(0.01)
    client.close()
    thread.join(timeout=60)
    assert [str(error) for error in ended] == ["the client is closed"]
    with pytest.raises(ClientClosedError):
        client.history("04A1")


def test_uid_is_one_segment_of_the_path(client: PatchProofClient, scripted: ScriptedServer) -> None:
    scripted.prepare(HISTORY)
    client.history("a/b ?#漢")
    assert scripted.seen[0].path == "/v1/patches/a%2Fb%20%3F%23%E6%BC%A2/history"


@pytest.mark.parametrize(
    "url",
    [
        "patches.example",
        "ftp://patches.example",
        "https://",
        "https://user:word@patches.example",
        "https://patches.example/?x=1",
        "http://patches.example",
        "http://10.0.0.1",
        "http://localhost.example",
    ],
)
def test_urls_that_would_leak_or_fail_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url") as refused:
        PatchProofClient(url)
    assert "word" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://[::1]:1", "http://localhost:1", "http://127.8.0.1", "https://x"]
)
def test_loopback_and_https_need_no_leave(url: str) -> None:
    PatchProofClient(url).close()
    PatchProofClient("http://10.0.0.1", allow_http=True).close()


@pytest.mark.parametrize("key", ["", " ", "a\nb", "clé", "a\x00"])
def test_keys_that_no_header_carries_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as refused:
        PatchProofClient("https://patches.example", key)
    assert not key.strip() or key not in str(refused.value)
