"""The kinds of values that requests carry, each with its bounds and what it refuses."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from app import extensions
from app.bitcoin.addresses import parse_address
from app.bitcoin.keys import PublicKey
from app.bitcoin.signatures import parse_signature_der

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_HEX_64 = re.compile(r"[0-9a-fA-F]{64}")
# RFC 3986: nothing outside these characters is a URI.
_HTTP_URL = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", re.IGNORECASE)


def _check_line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


def _check_uid(text: str) -> str:
    # At the end of a path a slash means nothing, so nobody could ask for such a patch.
    if text.endswith("/"):
        raise ValueError("must not end with a slash")
    return _check_line(text)


def _check_lines(text: str) -> str:
    if _CONTROL_BUT_LINES.search(text):
        raise ValueError("must not contain control characters other than line breaks and tabs")
    return text


def _check_http_url(text: str) -> str:
    if not _HTTP_URL.fullmatch(text) or not _has_host(text):
        raise ValueError("must be an http or https URL")
    return text


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Reading the port checks it.
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_address(text: str) -> str:
    parse_address(text, extensions.get().settings.woc_network)
    return text


def _check_txid(text: str) -> str:
    if not _HEX_64.fullmatch(text):
        raise ValueError("must be 64 hexadecimal characters")
    return text


def _normalise_signature(text: str) -> str:
    return parse_signature_der(text).hex()


def _normalise_public_key(text: str) -> str:
    return PublicKey.from_hex(text).to_hex()


def _check_base64(text: str) -> str:
    try:
        is_canonical = b64encode(b64decode(text, validate=True)).decode() == text
    except ValueError:
        is_canonical = False
    if not is_canonical:
        raise ValueError("must be base64 with padding")
    return text


def _trimmed(max_length: int, min_length: int = 1) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=min_length, max_length=max_length)


def _documented(pattern: str, description: str, **more: int) -> WithJsonSchema:
    """What the document says of text that is checked by code."""
    return WithJsonSchema(
        {"type": "string", "pattern": pattern, "description": description, **more}
    )


def optional(**options: Any) -> Any:
    """A field that may be left out but not be null; `model_fields_set` tells if it was there."""
    return Field(default=None, json_schema_extra=_drop_default, **options)


def _drop_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


UidTagId = Annotated[str, _trimmed(128, min_length=3), AfterValidator(_check_uid)]
ShortText = Annotated[str, _trimmed(256), AfterValidator(_check_line)]
PersonName = Annotated[str, _trimmed(128), AfterValidator(_check_line)]
Notes = Annotated[str, _trimmed(4096), AfterValidator(_check_lines)]
HttpUrl = Annotated[
    str,
    StringConstraints(max_length=2048),
    AfterValidator(_check_http_url),
    Field(json_schema_extra={"format": "uri"}),
]
OwnerAddress = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    AfterValidator(_check_address),
    _documented(
        "^[1-9A-HJ-NP-Za-km-z]{25,35}$", "P2PKH address of the network that the service anchors on"
    ),
]
Txid = Annotated[
    str, AfterValidator(_check_txid), Field(json_schema_extra={"pattern": "^[0-9a-fA-F]{64}$"})
]
SignatureHex = Annotated[
    str,
    AfterValidator(_normalise_signature),
    _documented(
        "^30([0-9a-fA-F]{2}){7,71}$",
        "Strict DER with low S, hexadecimal, over one SHA-256 of the message",
    ),
]
PublicKeyHex = Annotated[
    str,
    AfterValidator(_normalise_public_key),
    _documented("^0[23][0-9a-fA-F]{64}$", "Compressed SEC public key, hexadecimal"),
]
Nonce = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_check_line)]
ClaimNonce = Annotated[
    str, StringConstraints(min_length=6, max_length=128), AfterValidator(_check_line)
]
Base64Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024 * 1024),
    AfterValidator(_check_base64),
    _documented(
        "^([0-9A-Za-z+/]{4})*([0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$",
        "Base64 with padding",
        minLength=1,
        maxLength=1024 * 1024,
    ),
]
