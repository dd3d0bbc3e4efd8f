"""Spells answers the way the contract does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Response, current_app

from app import extensions

JSON_CONTENT_TYPE = "application/json; charset=utf-8"


def answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """A JSON answer."""
    return Response(current_app.json.dumps(body), status, content_type=JSON_CONTENT_TYPE)


def iso_timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def public_url(path: str) -> str:
    """Where a path of ours is; the host comes from settings, never from a request."""
    return extensions.get().settings.public_base_url.rstrip("/") + path


def certificate_url(metadata_sha256: str, txid: str, kind: str = "certificate.html") -> str:
    """Where a record's certificate is, as a page or as `pdf`."""
    query = urlencode({"dataHash": metadata_sha256, "txid": txid})
    return public_url(f"/certificates/{kind}?{query}")
