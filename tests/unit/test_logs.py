"""One JSON line an event, and nothing secret in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app import logs
from app.logs import REDACTED


class Written:
    """What the process has logged, read as the operator's tools read it."""

    def __init__(self) -> None:
        self._stream = io.StringIO()

    def configure(self, level: str) -> None:
        """Sets the process's logging up and catches what it writes."""
        logs.configure(level, service="test", release="abc")
        [handler] = logging.getLogger().handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(self._stream)

    def __call__(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Written]:
    """The log of a process that tells everything from info on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = Written()
    written.configure("info")
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


LOGGER = logging.getLogger("app.somewhere")


def test_a_line_says_when_who_and_under_which_request(lines: Written) -> None:
    token = logs.request_id.set("req-1")
    LOGGER.info("transaction %s", "sent", extra=logs.chain_event("sent", "ab" * 32, tries=2))
    logs.request_id.reset(token)
    LOGGER.info("later")

    first, second = lines()
    assert first["message"] == "transaction sent"
    assert (first["level"], first["logger"]) == ("INFO", "app.somewhere")
    assert (first["service"], first["release"], first["request_id"]) == ("test", "abc", "req-1")
    assert (first["event"], first["txid"], first["tries"]) == ("chain.sent", "ab" * 32, 2)
    assert first["timestamp"].endswith("+00:00")
    assert second["request_id"] is None


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "redis_password",
        "Authorization",
        "api_key",
        "x-api-key",
        "apiKey",
        "jwt_secret",
        "accessToken",
        "cookie",
        "signature",
        "currentOwnerSignature",
        "issuer_signature",
        "pmc",
        "pmcHex",
        "challenge",
        "nonce",
        "Mhex",
        "code",
        "dev_code",
        "verificationCode",
        "email",
        "customer_email",
        "wif",
        "private_key",
        "passphrase",
    ],
)
def test_p6_a_secret_is_redacted_by_its_name_at_every_depth(lines: Written, name: str) -> None:
    LOGGER.info("top", extra={name: "hush"})
    LOGGER.info("deep", extra={"body": {"customers": [{"a": {name: "hush"}}, ({name: ["hush"]},)]}})

    top, deep = lines()
    assert "hush" not in json.dumps([top, deep])
    assert top[name] == REDACTED
    assert deep["body"]["customers"][0]["a"][name] == REDACTED


@pytest.mark.parametrize(
    "name", ["txid", "key_identifier", "status_code", "error_code", "outcome", "uid_tag_id"]
)
def test_what_is_no_secret_stays(lines: Written, name: str) -> None:
    LOGGER.info("x", extra={name: "visible"})

    assert lines()[0][name] == "visible"


URL = "mongodb://user:hunter2@db.example:27017/x"


@pytest.mark.parametrize(
    "log",
    [
        lambda: LOGGER.info(f"can't reach {URL}"),  # noqa: G004 - somebody will
        lambda: LOGGER.info("can't reach %s", URL),
        lambda: LOGGER.info("can't reach %(url)s", {"url": URL}),
        lambda: LOGGER.info("no %s", OSError(f"refused by {URL}")),
        lambda: LOGGER.info("no", extra={"address": URL}),
        lambda: LOGGER.info("no", extra={"deep": [{"addresses": (URL,)}]}),
        lambda: LOGGER.info("no", extra={"reason": ValueError(URL)}),
        lambda: LOGGER.info("no", exc_info=ValueError(f"refused by {URL}")),
    ],
)
def test_p6_credentials_in_addresses_do_not_reach_the_log(
    lines: Written, log: Callable[[], None]
) -> None:
    log()

    text = json.dumps(lines())
    assert "hunter2" not in text
    assert "db.example" in text


def test_a_url_without_credentials_stays_as_it_is(lines: Written) -> None:
    LOGGER.info("%s and a@b.example", "https://x.example/a?b=1")

    assert lines()[0]["message"] == "https://x.example/a?b=1 and a@b.example"


@pytest.mark.parametrize(("level", "shown"), [("info", 2), ("warn", 1), ("error", 0)])
def test_the_level_is_the_one_that_was_set(lines: Written, level: str, shown: int) -> None:
    lines.configure(level)

    LOGGER.debug("a")
    LOGGER.info("b")
    LOGGER.warning("c")

    assert len(lines()) == shown


def test_what_json_does_not_know_is_written_as_text(lines: Written) -> None:
    LOGGER.info("x", extra={"things": {1: {object}, "b": b"bytes"}})

    assert "things" in lines()[0]
