"""Rows of an older system's database, read with care: each is understood as a whole or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from app.bitcoin.addresses import Network, parse_address
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.keys import PublicKey
from app.domain.canonical import NotCanonicalError, canonical_json

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_TXID = re.compile(r"[0-9a-fA-F]{64}")
_USER_ID = re.compile(r"[0-9a-fA-F]{24}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){8,75}")
_MOST_SATOSHIS = 21_000_000 * 100_000_000
_PRODUCT = frozenset({"uid_tag_id", "name", "category", "sku", "serial_number", "material"})
_METADATA = frozenset({"notes", "image", "patch_location"})


class OlderRowError(ValueError):
    """A row can't be understood; the text names the field and what was expected."""


@dataclass(frozen=True)
class OlderRecord:
    """What a record says, as it was stored or as the chain shows it."""

    product: dict[str, str]
    metadata: dict[str, str]
    owner: str
    ts: int
    issuer_pubkey: str
    issuer_signature: str
    prev_txid: str | None
    owner_pubkey: str | None
    owner_signature: str | None

    @property
    def uid_tag_id(self) -> str:
        return self.product["uid_tag_id"]


@dataclass(frozen=True)
class OlderRecordRow:
    """A row of the older records. `txid` is None where it never had one."""

    id: ObjectId
    record: OlderRecord
    status: str
    txid: str | None
    is_batched: bool
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True)
class OlderUtxo:
    """A row of the older pool; `key_identifier` is None where it had none."""

    outpoint: str
    satoshis: int
    address: str
    key_identifier: str | None
    status: str


@dataclass(frozen=True)
class OlderLoginKey:
    """A user's key; nobody has proven that it is theirs."""

    user_id: str
    public_key_hex: str
    registered_at: datetime | None
    is_revoked: bool


def read_record(value: Any, network: Network) -> OlderRecord:
    """Reads what a record says.

    Raises:
        OlderRowError: it says something else than records do.
    """
    record = _mapping(value, "record")
    if record.get("type", "AUTHENTICATION_RECORD") != "AUTHENTICATION_RECORD":
        raise OlderRowError("type: is no AUTHENTICATION_RECORD")
    auth = _mapping(record.get("auth"), "auth")
    product = _texts(record.get("product"), "product", _PRODUCT, 256)
    uid = _text(product.get("uid_tag_id"), "product.uid_tag_id", 128, low=3)
    if uid != uid.strip() or uid.endswith("/"):
        raise OlderRowError("product.uid_tag_id: begins or ends as no uid does")
    metadata = _texts(record.get("metadata", {}), "metadata", _METADATA, 4096)
    _check_canonical({"product": product, "metadata": metadata})
    return OlderRecord(
        product=product,
        metadata=metadata,
        owner=_address(auth.get("owner"), "auth.owner", network),
        ts=_whole(auth.get("ts"), "auth.ts", 1, 2**53 - 1),
        issuer_pubkey=_public_key(auth.get("issuer_pubkey"), "auth.issuer_pubkey"),
        issuer_signature=_hex(auth.get("issuer_signature"), "auth.issuer_signature"),
        prev_txid=_maybe(auth, "prev_txid", _txid),
        owner_pubkey=_maybe(auth, "current_owner_pubkey", _public_key),
        owner_signature=_maybe(auth, "current_owner_signature", _hex),
    )


def read_payload(payload: bytes, network: Network) -> OlderRecord:
    """Reads a record as the chain shows it.

    Raises:
        OlderRowError: as above.
    """
    try:
        shown = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise OlderRowError("the chain shows no JSON") from error
    return read_record(shown, network)


def read_record_row(row: Mapping[str, Any], network: Network) -> OlderRecordRow:
    """Reads a row of the older records; what it says is in `record_data`, or in the row itself."""
    body = _mapping(row.get("record_data", row), "record_data")
    auth = _mapping(body.get("auth"), "auth")
    if not isinstance(row.get("_id"), ObjectId):
        raise OlderRowError("_id: is no ObjectId")
    status = row.get("status", "confirmed")
    if status not in ("pending", "anchoring", "confirmed", "failed"):
        raise OlderRowError("status: is none of pending, anchoring, confirmed, failed")
    txid = row.get("txid") or auth.get("txid")
    return OlderRecordRow(
        id=row["_id"],
        record=read_record(body, network),
        status=status,
        txid=None if txid is None else _txid(txid, "txid"),
        is_batched=any(auth.get(name) for name in ("merkleRoot", "merklePath", "anchorTxid")),
        created_at=_moment(row, "created_at", "createdAt"),
        updated_at=_moment(row, "updated_at", "updatedAt"),
    )


def read_uid(row: Mapping[str, Any]) -> str | None:
    """Answers the patch of a row, however odd the rest is; None where it names none."""
    body = row.get("record_data", row)
    product = body.get("product") if isinstance(body, Mapping) else None
    uid = product.get("uid_tag_id") if isinstance(product, Mapping) else None
    return uid if isinstance(uid, str) else None


def read_utxo(row: Mapping[str, Any], network: Network) -> OlderUtxo:
    """Reads a row of the older pool."""
    txid = _txid(row.get("txid"), "txid")
    vout = _whole(row.get("vout"), "vout", 0, 2**32 - 1)
    key = row.get("keyIdentifier", row.get("key_identifier"))
    status = row.get("status")
    if status not in ("unconfirmed", "available", "locked", "spent"):
        raise OlderRowError("status: is none of unconfirmed, available, locked, spent")
    return OlderUtxo(
        outpoint=f"{txid}:{vout}",
        satoshis=_whole(row.get("satoshis"), "satoshis", 1, _MOST_SATOSHIS),
        address=_address(row.get("address"), "address", network),
        key_identifier=None if key is None else _text(key, "keyIdentifier", 128),
        status=status,
    )


def read_login_key(row: Mapping[str, Any]) -> OlderLoginKey:
    """Reads a row of the older registry of login keys."""
    user_id = row.get("userId", row.get("user_id"))
    if isinstance(user_id, ObjectId):
        user_id = str(user_id)
    if not isinstance(user_id, str) or not _USER_ID.fullmatch(user_id):
        raise OlderRowError("userId: is not 24 hexadecimal characters")
    revoked = row.get("revoked", row.get("revoked_at", row.get("revokedAt")))
    return OlderLoginKey(
        user_id=user_id.lower(),
        public_key_hex=_public_key(row.get("pmcHex", row.get("pmc_hex")), "pmcHex"),
        registered_at=_moment(row, "created_at", "createdAt"),
        # Whatever stands there but a plain no: a key that may be revoked logs nobody in.
        is_revoked=revoked not in (None, False),
    )


def read_head(row: Mapping[str, Any]) -> tuple[str, str]:
    """Reads a row of the older patch states: its uid and its head."""
    uid = _text(row.get("uid_tag_id", row.get("uidTagId")), "uid_tag_id", 128)
    names = ("currentTxid", "current_txid", "txid", "head")
    head = next((row[name] for name in names if row.get(name) is not None), None)
    return uid, _txid(head, "currentTxid")


def _mapping(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise OlderRowError(f"{field}: is no object")
    return value


def _texts(value: Any, field: str, names: frozenset[str], longest: int) -> dict[str, str]:
    found = {name: text for name, text in _mapping(value, field).items() if text is not None}
    if not found.keys() <= names:
        raise OlderRowError(f"{field}: has members that no record has")
    return {name: _lines(text, f"{field}.{name}", longest) for name, text in found.items()}


def _lines(value: Any, field: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest or _NOT_TEXT.search(value):
        raise OlderRowError(f"{field}: is no text of at most {longest} characters")
    return value


def _text(value: Any, field: str, longest: int, *, low: int = 1) -> str:
    is_text = isinstance(value, str) and low <= len(value) <= longest
    if not is_text or _CONTROL.search(value):
        raise OlderRowError(f"{field}: is no text of {low} to {longest} characters")
    return str(value)


def _whole(value: Any, field: str, low: int, high: int) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or value != int(value):
        raise OlderRowError(f"{field}: is no whole number from {low} to {high}")
    return int(value)


def _address(value: Any, field: str, network: Network) -> str:
    try:
        return parse_address(value, network).to_string()
    except BitcoinFormatError as error:
        raise OlderRowError(f"{field}: {error}") from error


def _public_key(value: Any, field: str) -> str:
    try:
        return PublicKey.from_hex(value).to_hex()
    except BitcoinFormatError as error:
        raise OlderRowError(f"{field}: {error}") from error


def _hex(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise OlderRowError(f"{field}: is no signature in hexadecimal")
    return value


def _txid(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _TXID.fullmatch(value):
        raise OlderRowError(f"{field}: is not 64 hexadecimal characters")
    return value.lower()


def _maybe(auth: Mapping[str, Any], name: str, read: Any) -> str | None:
    value = auth.get(name)
    return None if value is None else str(read(value, f"auth.{name}"))


def _moment(row: Mapping[str, Any], *names: str) -> datetime | None:
    for name in names:
        value = row.get(name)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
    return None


def _check_canonical(value: Mapping[str, Any]) -> None:
    try:
        canonical_json(dict(value))
    except NotCanonicalError as error:
        raise OlderRowError(str(error)) from error
