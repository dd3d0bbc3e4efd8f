"""What a certificate says of a patch, and whether an address says the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.bitcoin.addresses import Network
from app.domain.canonical import sha256_hex
from app.domain.records import RecordKind

# A date has no time zone, and a block's clock may be wrong by hours.
_TIME_TOLERANCE = timedelta(days=1)
_FINGERPRINT_CHARACTERS = 32
_EXPLORERS = {
    Network.MAIN: "https://whatsonchain.com",
    Network.TEST: "https://test.whatsonchain.com",
}
_PRODUCT_LABELS = {
    "category": "Category",
    "sku": "Article number",
    "serial_number": "Serial number",
    "material": "Material",
}


@dataclass(frozen=True)
class CertificateReference:
    """What an address says: which record it means, by head or txid, and what it claims of it."""

    name: str
    metadata_sha256: str | None = None
    block_height: int | None = None
    moment: datetime | None = None
    network: Network | None = None


@dataclass(frozen=True)
class Fact:
    """One line of a certificate; `is_code` marks what is copied and compared, not read."""

    label: str
    value: str
    is_code: bool = False


@dataclass(frozen=True)
class Certificate:
    """What is proven of a record and of the patch that it belongs to.

    `current_head` names the record that the patch stands at, `owners` counts everybody who had it.
    `registered_at` and `owners` are None where the records form no line. `findings` says what is
    wrong with the line, `is_partly_erased` that people in it had something erased.
    """

    uid_tag_id: str
    product: tuple[tuple[str, str], ...]
    kind: RecordKind
    head: str
    txid: str
    current_head: str
    metadata_sha256: str
    network: Network
    registered_at: datetime | None
    recorded_at: datetime
    mined_at: datetime | None
    owners: int | None
    block_height: int | None
    confirmations: int
    issuer_fingerprint: str
    findings: tuple[str, ...]
    is_partly_erased: bool

    @property
    def is_authentic(self) -> bool:
        return not self.findings

    @property
    def is_current(self) -> bool:
        return self.head == self.current_head

    @property
    def title(self) -> str:
        """What people call the thing: its name, or else the tag's id."""
        return dict(self.product).get("name") or self.uid_tag_id

    @property
    def explorer_url(self) -> str | None:
        """Where anyone can look at the transaction; None on a chain that nobody else sees."""
        base = _EXPLORERS.get(self.network)
        return None if base is None else f"{base}/tx/{self.txid}"

    def facts(self) -> list[Fact]:
        """All of it, for people, in the order in which they ask."""
        facts = [Fact("Tag", self.uid_tag_id)]
        facts += [
            Fact(_PRODUCT_LABELS[name], value)
            for name, value in self.product
            if name in _PRODUCT_LABELS
        ]
        if self.registered_at is not None:
            facts.append(Fact("Registered", spell_moment(self.registered_at)))
        if self.kind is RecordKind.TRANSFER:
            facts.append(Fact("Handed on", spell_moment(self.recorded_at)))
        if self.owners is not None:
            facts.append(Fact("Owners so far", str(self.owners)))
        return [*facts, *self._chain_facts()]

    def _chain_facts(self) -> Iterable[Fact]:
        network = "Bitcoin SV" if self.network is Network.MAIN else f"Bitcoin SV, {self.network}"
        yield Fact("Chain", network)
        if self.block_height is None:
            yield Fact("Block", "accepted by the network, not mined yet")
        else:
            mined = "" if self.mined_at is None else f", mined {spell_moment(self.mined_at)}"
            yield Fact("Block", f"{self.block_height:,}{mined}")
            yield Fact("Confirmations", f"{self.confirmations:,}")
        yield Fact("Transaction", self.txid, is_code=True)
        if self.head != self.txid:
            yield Fact("Record", self.head, is_code=True)
        yield Fact("Metadata digest", self.metadata_sha256, is_code=True)
        yield Fact("Issuer's key", _in_groups(self.issuer_fingerprint), is_code=True)


def fingerprint(public_key_hex: str) -> str:
    """Return a name for a public key: the first 16 bytes, in hex, of the SHA-256 of its bytes."""
    return sha256_hex(bytes.fromhex(public_key_hex))[:_FINGERPRINT_CHARACTERS]


def find_mismatches(reference: CertificateReference, certificate: Certificate) -> list[str]:
    """Answers what of an address is not as it is proven, in the words of the address."""
    claimed = {
        "dataHash": (reference.metadata_sha256, certificate.metadata_sha256),
        "blockHeight": (reference.block_height, certificate.block_height),
        "network": (reference.network, certificate.network),
    }
    wrong = [name for name, (said, proven) in claimed.items() if said not in (None, proven)]
    if reference.moment is not None and not _is_near(reference.moment, certificate):
        wrong.append("timestamp")
    return wrong


def spell_moment(moment: datetime) -> str:
    """Return a moment in UTC, to the minute, as people write it."""
    utc = moment.astimezone(UTC)
    return f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"


_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)


def _is_near(moment: datetime, certificate: Certificate) -> bool:
    """Whether it is when the patch was registered, the record made, or its block mined."""
    proven = (certificate.registered_at, certificate.recorded_at, certificate.mined_at)
    return any(each is not None and abs(each - moment) <= _TIME_TOLERANCE for each in proven)


def _in_groups(text: str) -> str:
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))
