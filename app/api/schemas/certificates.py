"""What an address of a certificate says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from app.api.schemas.fields import Txid, optional
from app.bitcoin.addresses import Network
from app.domain.certificates import CertificateReference


def parse_moment(text: str) -> datetime:
    """Reads Unix seconds where all are digits, else a date in ISO 8601; without a zone in UTC.

    Raises:
        ValueError: it is neither, or no calendar holds it.
    """
    try:
        if text.isascii() and text.isdigit():
            return datetime.fromtimestamp(int(text), UTC)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError("must be Unix seconds or a date in ISO 8601") from None


def _check_moment(text: str) -> str:
    parse_moment(text)
    return text


LowerTxid = Annotated[Txid, AfterValidator(str.lower)]


class CertificatePath(BaseModel):
    txid: LowerTxid

    @property
    def reference(self) -> CertificateReference:
        return CertificateReference(self.txid)


class CertificateQuery(BaseModel):
    """The record and, where it is given, what must be so of it; nothing else is looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    data_hash: Annotated[LowerTxid, Field(description="SHA-256 of the metadata")] = Field(
        alias="dataHash"
    )
    txid: LowerTxid
    block_height: Annotated[int, Field(ge=0, le=2**31 - 1)] = optional(alias="blockHeight")
    timestamp: Annotated[
        str,
        StringConstraints(strip_whitespace=True, max_length=40),
        AfterValidator(_check_moment),
        Field(description="Unix seconds or a date in ISO 8601; right to a day"),
    ] = optional()
    network: Network = optional()

    @property
    def reference(self) -> CertificateReference:
        return CertificateReference(
            name=self.txid,
            metadata_sha256=self.data_hash,
            block_height=self.block_height,
            moment=None if self.timestamp is None else parse_moment(self.timestamp),
            network=self.network,
        )
