"""HTTP to the service: deadlines, retries where they are safe, and nothing secret in an error."""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from patchproof_client.errors import (
    ClientClosedError,
    IdempotencyError,
    NoAnswerError,
    PatchProofError,
    RateLimitedError,
    ServerError,
    UnexpectedAnswerError,
)
from patchproof_client.reading import Reply, read_refusal

logger = logging.getLogger(__name__)

USER_AGENT = "patchproof-client-python/0.1"
CONNECTIONS = 32
MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_CONNECT_SECONDS = 5.0
SHORTEST_TRY_SECONDS = 0.05
IN_PROGRESS = "idempotency_in_progress"
_READ_BYTES = 64 * 1024
_PASSING_STATUSES = (502, 503, 504)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call may take, and how often and after which pauses it is made again.

    `timeout_seconds` bounds one try, `max_elapsed_seconds` all tries and pauses together. The n-th
    pause is a random part of `first_delay_seconds * 2**n`, capped, or what Retry-After asks for
    where that is longer. `tries=1` turns retries off.
    """

    tries: int = 6
    timeout_seconds: float = 30.0
    max_elapsed_seconds: float = 60.0
    first_delay_seconds: float = 0.2
    max_delay_seconds: float = 10.0

    def delay_seconds(self, retry: int) -> float:
        """The pause before retry number `retry`, from 0: full jitter, so that clients spread."""
        longest = min(self.first_delay_seconds * 2.0**retry, self.max_delay_seconds)
        return random.uniform(0.0, longest)  # noqa: S311 - no secret


@dataclass(frozen=True)
class Call:
    """One request. `is_repeatable` says that the service does no more when it comes twice.

    `budget_seconds` is for all tries, where the policy's is too much.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = False
    budget_seconds: float | None = None


class Credentials(AuthBase):
    """Headers that say who asks, and that no representation shows.

    Given to requests as what authenticates, even when empty, they keep it from reading ~/.netrc.
    """

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self._headers = dict(headers or {})

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers)
        return request

    def __repr__(self) -> str:
        return f"<Credentials in {', '.join(self._headers) or 'nothing'}>"


NOBODY = Credentials()


class AnswerTooLongError(requests.RequestException):
    """More bytes than any answer of the service has."""


class AnswerTooSlowError(requests.RequestException):
    """Bytes came all the time, and not the last one."""


class Transport:
    """Speaks to the service at one base URL; threads may share it."""

    def __init__(self, base_url: str, policy: RetryPolicy, *, allow_http: bool = False) -> None:
        self.base_url = _check_base_url(base_url, allow_http=allow_http)
        self.policy = policy
        self._closed = threading.Event()
        self._session = _make_session()

    def close(self) -> None:
        """Ends every wait, in other threads too, and closes the pooled connections."""
        self._closed.set()
        self._session.close()

    def pause(self, seconds: float) -> None:
        """Waits, unless the client is closed meanwhile.

        Raises:
            ClientClosedError: it was, or is.
        """
        if self._closed.wait(max(seconds, 0.0)):
            raise ClientClosedError("the client is closed")

    def send(self, call: Call, credentials: Credentials = NOBODY) -> Reply:
        """Makes a call, again where that is safe; answers a success.

        Raises:
            ApiError, NoAnswerError, UnexpectedAnswerError: the last try's.
            ClientClosedError: the client is closed.
        """
        # One id for all tries: the service's log shows them together.
        request_id = str(uuid4())
        budget = self.policy.max_elapsed_seconds
        deadline = time.monotonic() + min(budget, call.budget_seconds or budget)
        retry, may_have_acted = 0, False
        while True:
            self.pause(0)
            outcome = self._try(call, credentials, request_id, deadline)
            if isinstance(outcome, Reply):
                return outcome
            pause = max(self.policy.delay_seconds(retry), _asked_pause(outcome))
            left = deadline - time.monotonic() - pause
            has_time = retry + 1 < self.policy.tries and left >= SHORTEST_TRY_SECONDS
            may_have_acted |= not _has_done_nothing(outcome)
            if not has_time or not _may_retry(call, outcome):
                if isinstance(outcome, NoAnswerError):
                    outcome.was_sent = may_have_acted
                # Outside of any `except`: an error of requests holds the request and its headers.
                raise outcome
            retry += 1
            logger.info("%s %s again in %.1f s: %s", call.method, call.path, pause, outcome)
            self.pause(pause)

    def _try(
        self, call: Call, credentials: Credentials, request_id: str, deadline: float
    ) -> Reply | PatchProofError:
        seconds = min(self.policy.timeout_seconds, deadline - time.monotonic())
        try:
            reply = self._exchange(call, credentials, request_id, max(seconds, 0.1))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # The class alone: the texts of these errors repeat URLs and headers.
            reason = f"no answer: {type(error).__name__}"
            return NoAnswerError(reason, request_id=request_id, was_sent=_was_sent(error))
        return reply if reply.is_success else read_refusal(reply)

    def _exchange(
        self, call: Call, credentials: Credentials, request_id: str, seconds: float
    ) -> Reply:
        connect_seconds = min(MAX_CONNECT_SECONDS, seconds / 2)
        headers = {"X-Request-Id": request_id, "Accept": "application/json", **call.headers}
        data = None
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(call.body, allow_nan=False).encode()
        deadline = time.monotonic() + seconds
        with self._session.request(
            call.method,
            self.base_url + call.path,
            data=data,
            headers=headers,
            auth=credentials,
            timeout=(connect_seconds, seconds),
            # What follows a redirect carries the API key to wherever it points.
            allow_redirects=False,
            stream=True,
        ) as response:
            body = _read_body(response, deadline)
        given_id = response.headers.get("X-Request-Id", "")
        return Reply(
            response.status_code,
            body,
            given_id if _REQUEST_ID.fullmatch(given_id) else request_id,
            _parse_retry_after(response.headers.get("Retry-After")),
            response.headers.get("Idempotent-Replayed", "").lower() == "true",
        )


def is_passing(error: PatchProofError) -> bool:
    """Whether the same request may get another answer a little later."""
    if isinstance(error, ServerError | UnexpectedAnswerError):
        return error.status in _PASSING_STATUSES
    return isinstance(error, NoAnswerError | RateLimitedError) or _is_in_progress(error)


def _may_retry(call: Call, error: PatchProofError) -> bool:
    """Whether the same call may be sent again without doing anything twice."""
    return is_passing(error) and (call.is_repeatable or _has_done_nothing(error))


def _has_done_nothing(error: PatchProofError) -> bool:
    """Whether it is certain that the service did not act on this try."""
    if isinstance(error, NoAnswerError):
        return not error.was_sent
    return isinstance(error, RateLimitedError) or _is_in_progress(error)


def _is_in_progress(error: PatchProofError) -> bool:
    return isinstance(error, IdempotencyError) and error.code == IN_PROGRESS


def _asked_pause(outcome: PatchProofError) -> float:
    return getattr(outcome, "retry_after_seconds", None) or 0.0


def _was_sent(error: Exception) -> bool:
    """False where no connection was made; True wherever that is not certain."""
    if isinstance(error, requests.ConnectTimeout):
        return False
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return not isinstance(reason, urllib3.exceptions.NewConnectionError)


def _read_body(response: requests.Response, deadline: float) -> bytes:
    # The read timeout covers one silence only; a body that drips for ever ends here.
    parts: list[bytes] = []
    size = 0
    while part := response.raw.read1(_READ_BYTES, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise AnswerTooLongError
        if time.monotonic() > deadline:
            raise AnswerTooSlowError
    return b"".join(parts)


def _parse_retry_after(value: str | None) -> float | None:
    """Seconds from now, from either form of RFC 9110; None for nothing and for nonsense."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _make_session() -> requests.Session:
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=CONNECTIONS, max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.headers["User-Agent"] = USER_AGENT
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _check_base_url(url: str, *, allow_http: bool) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url must be an http or https URL")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("base_url must have no credentials, query or fragment")
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        raise ValueError("base_url must be https; allow_http=True sends keys in clear")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
