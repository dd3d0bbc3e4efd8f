"""The form of a log line."""

import json
import logging
import sys

import pytest

from signer import logs


@pytest.fixture
def _restored_logger() -> object:
    logger = logs.LOGGER
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.mark.usefixtures("_restored_logger")
def test_lines_are_json_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging()
    logs.log(logging.INFO, "request", path="/sign", text='"\n\u2028')
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    line = json.loads(output.err)
    assert line["time"].endswith("+00:00")
    assert (line["level"], line["message"], line["path"]) == ("info", "request", "/sign")


def test_exception_shows_its_type_and_place_but_not_its_text() -> None:
    try:
        raise ValueError("secret 1234")
    except ValueError:
        record = logging.LogRecord("x", 40, __file__, 1, "it failed", None, sys.exc_info())
    text = logs.JsonFormatter().format(record)
    line = json.loads(text)
    assert line["exception"] == "ValueError"
    assert line["frames"][0].startswith(f"{__file__}:")
    assert "1234" not in text
