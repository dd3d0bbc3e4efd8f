"""Reads a fee from a web page of the operator's choice."""

from typing import Any
from urllib.parse import urlsplit

from app.clients.outcomes import UnexpectedAnswerError
from app.clients.transport import CallPolicy, HttpTransport, parse_json

SERVICE = "fee page"
_NAMES = ("feePerKb", "fee_per_kb")
_MAX_SATOSHIS_PER_KILOBYTE = 1_000_000
_POLICY = CallPolicy(attempts=2, timeout_seconds=10.0, budget_seconds=20.0, first_delay_seconds=0.5)


def read_fee_page(url: str) -> int:
    """Return `feePerKb` or `fee_per_kb` of the JSON object at a URL, in satoshis per 1000 bytes.

    Raises ServiceUnavailableError when there is no answer, UnexpectedAnswerError for anything but
    a positive whole number.
    """
    parts = urlsplit(url)
    base_url = f"{parts.scheme}://{parts.netloc}"
    transport = HttpTransport(SERVICE, base_url, policy=_POLICY)
    try:
        answer = transport.call("GET", url[len(base_url) :])
        return _find_fee(parse_json(SERVICE, answer))
    finally:
        transport.close()


def _find_fee(page: Any) -> int:
    found = [page[name] for name in _NAMES if name in page] if isinstance(page, dict) else []
    fee = found[0] if found else None
    # A boolean is an int, and no fee.
    if type(fee) is not int or not 0 < fee <= _MAX_SATOSHIS_PER_KILOBYTE:
        raise UnexpectedAnswerError(SERVICE, "feePerKb is no positive whole number")
    return fee
