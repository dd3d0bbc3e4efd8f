"""What a record looks like on the chain: an output of zero satoshis, nothing personal in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.scripts import data_locking_script, parse_data_script
from app.bitcoin.transactions import Transaction
from app.domain.canonical import canonical_json, sha256_hex

_PROTOCOL = b"PatchProof"
_VERSION = b"1"
_DATA = b"\x00\x6a"
_RECORD = b'"AUTHENTICATION_RECORD"'


class InvalidEnvelopeError(ValueError):
    """A script carries data, but not an envelope of ours."""


class Kind(StrEnum):
    """What an envelope records."""

    REGISTRATION = "REGISTRATION"
    TRANSFER = "TRANSFER"
    BATCH = "BATCH"


@dataclass(frozen=True)
class Envelope:
    """`OP_FALSE OP_RETURN <"PatchProof"> <"1"> <kind> <payload>`."""

    kind: Kind
    payload: bytes

    def to_locking_script(self) -> bytes:
        """Return the locking script of the output that carries the envelope."""
        return data_locking_script([_PROTOCOL, _VERSION, self.kind.value.encode(), self.payload])

    @classmethod
    def from_locking_script(cls, script: bytes) -> "Envelope":
        """Read a locking script.

        Raises InvalidScriptError when it is no data script and InvalidEnvelopeError when its
        data is not ours.
        """
        pushes = parse_data_script(script)
        if len(pushes) != 4 or pushes[:2] != [_PROTOCOL, _VERSION]:
            raise InvalidEnvelopeError("The data is not a PatchProof envelope of version 1.")
        try:
            kind = Kind(pushes[2].decode("ascii"))
        except ValueError:
            raise InvalidEnvelopeError("The PatchProof envelope is of an unknown kind.") from None
        return cls(kind, pushes[3])


def commitment_payload(
    digest_hex: str, issuer_pubkey: str, issuer_signature: str, prev_txid: str | None
) -> bytes:
    """Return the canonical JSON that commits to a record without showing it; all of it hex."""
    payload = {
        "digest": digest_hex,
        "issuer_pubkey": issuer_pubkey,
        "issuer_signature": issuer_signature,
    }
    if prev_txid is not None:
        payload["prev_txid"] = prev_txid
    return canonical_json(payload)


def batch_payload(merkle_root: bytes, leaf_count: int) -> bytes:
    """Return the canonical JSON that commits to a batch of records: root and number of leaves.

    Both, since a path leads to the same root in trees of different sizes.
    """
    return canonical_json({"leaf_count": leaf_count, "merkle_root": merkle_root.hex()})


class ChainForm(StrEnum):
    """What the chain shows of a record: of one in a batch no more than the root over all."""

    SALTED_DIGEST = "salted_digest"
    BATCH_ROOT = "batch_root"
    IN_CLEAR = "in_clear"


def chain_form(raw_tx: bytes) -> ChainForm:
    """Return what the transaction that carries a record shows of it.

    Raises BitcoinFormatError when the bytes are no transaction.
    """
    for output in Transaction.from_bytes(raw_tx).outputs:
        if output.locking_script.startswith(_DATA) and _RECORD in output.locking_script:
            # An older system needed no envelope for it.
            return ChainForm.IN_CLEAR
        try:
            envelope = Envelope.from_locking_script(output.locking_script)
        except (BitcoinFormatError, InvalidEnvelopeError):
            continue
        if envelope.kind is Kind.BATCH:
            return ChainForm.BATCH_ROOT
    return ChainForm.SALTED_DIGEST


def record_digest(salt: bytes, public_view: Mapping[str, Any]) -> str:
    """Return the hex of sha256(salt || canonical JSON of the public view).

    The salt, 16 random bytes, keeps what is erased off the chain from being guessed.
    """
    return sha256_hex(salt + canonical_json(dict(public_view)))
