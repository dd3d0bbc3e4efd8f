"""HTTP to one outside service: pooled connections, deadlines, bounded retries, typed trouble."""

import contextlib
import json
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import urlencode, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import default_headers

from app import measures
from app.clients.outcomes import (
    AuthenticationRefusedError,
    ServiceUnavailableError,
    UnexpectedAnswerError,
)

logger = logging.getLogger(__name__)

POOL_SIZE = 16
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_CONNECT_SECONDS = 5.0
SHORTEST_TRY_SECONDS = 0.05
SHORTEST_HOLD_SECONDS = 1.0
MAX_WORDS_LENGTH = 300
_READ_BYTES = 64 * 1024
_LONG_HEX = re.compile(r"[0-9a-fA-F]{32,}")


@dataclass(frozen=True)
class CallPolicy:
    """How long a call may take, and how often and after which pauses it is made again.

    `timeout_seconds` bounds one try, `budget_seconds` all tries and pauses together. The n-th
    pause is `first_delay_seconds * 2**n`, capped, times a random factor from `jitter`: (0, 1)
    is full jitter, (1, 1.25) never comes earlier than the plain pause.
    """

    attempts: int
    timeout_seconds: float
    budget_seconds: float
    first_delay_seconds: float
    max_delay_seconds: float = 10.0
    jitter: tuple[float, float] = (0.0, 1.0)

    def delay_seconds(self, retry: int, random_unit: float) -> float:
        """Return the pause before retry number `retry` (from 0) for a random number in [0, 1)."""
        low, high = self.jitter
        pause = min(self.first_delay_seconds * 2.0**retry, self.max_delay_seconds)
        return pause * (low + (high - low) * random_unit)


@dataclass(frozen=True)
class HttpAnswer:
    """A whole answer: its status, its body and the pause it asks for."""

    status: int
    body: bytes
    retry_after_seconds: float | None = None

    @property
    def text(self) -> str:
        """The body as text, without the whitespace around it."""
        return self.body.decode("utf-8", errors="replace").strip()

    @property
    def is_markup(self) -> bool:
        """Tell whether this is a web page: a proxy spoke, not the service."""
        return self.body.lstrip()[:1] == b"<"

    @property
    def words(self) -> str:
        """What a refusal says, cut short and without long hex: that may be a secret come back."""
        if self.is_markup:
            return "a web page"
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = self.text
        while isinstance(value, dict):
            value = value.get("message") or value.get("error")
        return _LONG_HEX.sub("(hex)", str(value or "no reason given"))[:MAX_WORDS_LENGTH]

    @property
    def is_temporary(self) -> bool:
        """Tell whether the same call may succeed a little later."""
        return self.status == 429 or self.status >= 500


class NoAnswerError(Exception):
    """The service did not answer in full; whether it acted is not known."""


class NotSentError(NoAnswerError):
    """Our own pace left no room for the call in time: nothing was sent."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__(f"not sent, the next free place is {wait_seconds:.1f} s away")
        self.retry_after_seconds = wait_seconds


class Pacer(Protocol):
    """Keeps the calls to one service below its limit."""

    def wait(self, budget_seconds: float, *, is_urgent: bool = False) -> None:
        """Return when the next call may go; raise NotSentError when that is beyond the budget.

        An urgent call is counted and goes at once.
        """

    def hold(self, seconds: float) -> None:
        """Let no call go for a while: the service has said that there were too many."""


class _Connections:
    """Pooled connections to one base URL, and how a path is spelled on them.

    `requests` makes them, so certificates and proxies are those that it finds in the environment.
    The calls go past it: they cost a third, and neither cookies nor ~/.netrc have a part in them.
    """

    def __init__(self, base_url: str) -> None:
        with requests.Session() as session:
            found = session.merge_environment_settings(base_url, {}, True, None, None)
        self._adapter = HTTPAdapter(pool_connections=2, pool_maxsize=POOL_SIZE)
        self.pool = cast(
            "urllib3.HTTPConnectionPool",
            self._adapter.get_connection_with_tls_context(
                requests.Request("GET", base_url).prepare(),
                found["verify"],
                proxies=found["proxies"],
                cert=found["cert"],
            ),
        )
        parts = urlsplit(base_url)
        # A proxy of plain HTTP is told the whole address.
        is_whole = self.pool.proxy is not None and parts.scheme == "http"
        self.prefix = base_url if is_whole else parts.path

    def close(self) -> None:
        self._adapter.close()


class HttpTransport:
    """Talks to the service at one base URL; safe to share among threads and across a fork."""

    def __init__(
        self,
        service: str,
        base_url: str,
        *,
        policy: CallPolicy,
        auth_headers: Mapping[str, str] | None = None,
        pacer: Pacer | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self.service = service
        self._base_url = base_url.rstrip("/")
        self._policy = policy
        self._headers = {**default_headers(), **_checked_headers(service, auth_headers or {})}
        self._pacer = pacer
        self._sleep = sleep
        self._random_unit = random_unit
        self._lock = threading.Lock()
        self._connections: _Connections | None = None
        self._connections_pid = 0

    def close(self) -> None:
        """Close the pooled connections; the next call opens new ones."""
        with self._lock:
            if self._connections is not None and self._connections_pid == os.getpid():
                self._connections.close()
            self._connections = None

    def send_once(
        self,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> HttpAnswer:
        """Make one call and return whatever is answered; raise NoAnswerError when nothing is.

        Waiting for its turn may take the policy's budget, the call itself the timeout.
        """
        if self._pacer is not None:
            self._pacer.wait(self._policy.budget_seconds)
        return self._send(method, path, json_body, params, headers, timeout_seconds)

    def _send(
        self,
        method: str,
        path: str,
        json_body: Any,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        timeout_seconds: float | None,
    ) -> HttpAnswer:
        """Exchange one call for one answer, and measure how long that takes."""
        started = time.monotonic()
        outcome = "none"
        try:
            answer = self._exchange(method, path, json_body, params, headers, timeout_seconds)
            outcome = f"{answer.status // 100}xx"
            return answer
        finally:
            measures.CALL_SECONDS.observe(time.monotonic() - started, self.service, outcome)

    def _exchange(
        self,
        method: str,
        path: str,
        json_body: Any,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        timeout_seconds: float | None,
    ) -> HttpAnswer:
        seconds = timeout_seconds or self._policy.timeout_seconds
        deadline = time.monotonic() + seconds
        connect_seconds = min(MAX_CONNECT_SECONDS, seconds / 3)
        timeout = urllib3.Timeout(connect=connect_seconds, read=seconds - connect_seconds)
        sent, content_type = _encode(json_body)
        try:
            connections = self._open_connections()
            response = connections.pool.urlopen(
                method,
                connections.prefix + path + (f"?{urlencode(params)}" if params else ""),
                body=sent,
                headers={**self._headers, **content_type, **(headers or {})},
                timeout=timeout,
                retries=False,
                redirect=False,
                # To a proxy of plain HTTP, another host is what is asked for.
                assert_same_host=False,
                preload_content=False,
            )
            body = _read_body(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # The class alone: the text of these errors carries the URL and what is in it.
            raise NoAnswerError(f"no answer ({type(error).__name__})") from error
        pause = _parse_retry_after(response.headers.get("Retry-After"))
        if response.status == 429 and self._pacer is not None:
            self._pacer.hold(max(pause or 0.0, SHORTEST_HOLD_SECONDS))
        return HttpAnswer(response.status, body, pause)

    def call(
        self,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        params: Mapping[str, str] | None = None,
        budget_seconds: float | None = None,
        attempts: int | None = None,
        is_urgent: bool = False,
    ) -> HttpAnswer:
        """Make a call that changes nothing at the service, again on silence, 429 and 5xx.

        Returns an answer below 500 that is neither 429, 401 nor 403. All tries and pauses
        together stay within the budget, waiting for a turn included.
        """
        deadline = time.monotonic() + (budget_seconds or self._policy.budget_seconds)
        last_retry = (attempts or self._policy.attempts) - 1
        retry = 0
        while True:
            result = self._try(method, path, json_body, params, deadline, is_urgent)
            if isinstance(result, HttpAnswer):
                return result
            pause = max(
                self._policy.delay_seconds(retry, self._random_unit()),
                result.retry_after_seconds or 0.0,
            )
            if retry >= last_retry or deadline - time.monotonic() < pause + SHORTEST_TRY_SECONDS:
                raise result
            self._sleep(pause)
            retry += 1

    def _try(
        self,
        method: str,
        path: str,
        json_body: Any,
        params: Mapping[str, str] | None,
        deadline: float,
        is_urgent: bool,
    ) -> HttpAnswer | ServiceUnavailableError:
        started = time.monotonic()
        try:
            if self._pacer is not None:
                self._pacer.wait(deadline - SHORTEST_TRY_SECONDS - started, is_urgent=is_urgent)
            seconds = min(self._policy.timeout_seconds, deadline - time.monotonic())
            answer = self._send(
                method, path, json_body, params, None, max(seconds, SHORTEST_TRY_SECONDS)
            )
        except NotSentError as error:
            failure = ServiceUnavailableError(self.service, str(error), error.retry_after_seconds)
        except NoAnswerError as error:
            failure = ServiceUnavailableError(self.service, str(error))
        else:
            if answer.status in (401, 403):
                raise AuthenticationRefusedError(
                    self.service, f"refused ({answer.status}): {answer.words}"
                )
            if not answer.is_temporary:
                return answer
            failure = ServiceUnavailableError(
                self.service, f"answered {answer.status}", answer.retry_after_seconds
            )
        logger.warning(
            "outside call failed",
            extra={
                "event": "outside_call_failed",
                "service": self.service,
                "method": method,
                "reason": failure.reason,
                "duration_ms": round((time.monotonic() - started) * 1000),
            },
        )
        return failure

    def _open_connections(self) -> _Connections:
        # A child process must not write into connections that its parent also holds.
        with self._lock:
            if self._connections is None or self._connections_pid != os.getpid():
                self._connections = _Connections(self._base_url)
                self._connections_pid = os.getpid()
            return self._connections


def parse_json(service: str, answer: HttpAnswer) -> Any:
    """Return the JSON value of a 200 answer, or raise UnexpectedAnswerError."""
    if answer.status != 200:
        raise UnexpectedAnswerError(service, f"answered {answer.status}")
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswerError(service, "the answer is not JSON") from error


def _encode(json_body: Any) -> tuple[bytes | None, dict[str, str]]:
    if json_body is None:
        return None, {}
    return json.dumps(json_body, allow_nan=False).encode(), {"Content-Type": "application/json"}


def _read_body(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    # The read timeout covers one silence only; a body that drips for ever ends here.
    parts: list[bytes] = []
    size = 0
    # What was read to its end has given its connection back; closing ends what was not.
    with contextlib.closing(response):
        while part := response.read1(_READ_BYTES, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise NoAnswerError("the answer is too long")
            if time.monotonic() > deadline:
                raise NoAnswerError("the answer took too long")
    return b"".join(parts)


def _parse_retry_after(value: str | None) -> float | None:
    # The date form is not used by the services we know; an odd value means no wish.
    if value is None or not value.strip().isascii() or not value.strip().isdigit():
        return None
    return float(min(int(value.strip()[:9]), 86_400))


def _checked_headers(service: str, headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the key of {service} for header {name} has odd characters")
    return dict(headers)
