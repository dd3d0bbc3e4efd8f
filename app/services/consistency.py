"""What stored documents must agree on, found in passes over ordered streams.

What names one transaction id (the transaction, the outputs locked under it, the records that it
carries) is looked at together, and so is what belongs to one patch. Memory holds one such group.

A crash may leave things anywhere on the way: whatever the sweeper, the reaper or the tracker goes
on from is right. Each rule is a small function that yields what it finds wrong in one group.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from bson import ObjectId

from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.transactions import Transaction
from app.domain.batch_tree import BatchTree
from app.domain.envelope import Envelope, InvalidEnvelopeError, Kind, batch_payload
from app.domain.older_records import find_payload
from app.domain.records import RecordKind
from app.domain.states import (
    TRANSACTION_DEAD,
    TRANSACTION_ON_NETWORK,
    RecordStatus,
    TransactionStatus,
    UtxoStatus,
)
from app.models.cursors import Row, stream
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction, TransactionKind
from app.models.utxo import Utxo

# What is wrong, and the id of what it is wrong with.
Problem = tuple[str, str]

ANY_ID = {"$gte": ObjectId("0" * 24)}
_SINGLE_KINDS = (TransactionKind.REGISTRATION.value, TransactionKind.TRANSFER.value)
_TRANSACTION_FIELDS = (
    "kind",
    "status",
    "txid",
    "dead_txid",
    "raw_tx",
    "inputs",
    "outputs",
    "records",
    "conflicts",
    "earlier",
    "fee_satoshis",
    "size_bytes",
    "next_attempt_at",
    "settled_at",
)
_COIN_FIELDS = ("lock_id", "status", "held", "spent_txid", "satoshis", "locking_script")
_ANCHOR_FIELDS = ("head", "digest", "issuer_pubkey", "issuer_signature")
_RECORD_FIELDS = ("transaction_id", "status", "txid", "batch", *_ANCHOR_FIELDS)
_PATCH_FIELDS = ("uid_tag_id", "status", "kind", "head", "owner", "custody.prev_txid")


@dataclass(frozen=True)
class Group:
    """Everything that names one transaction id; the transaction itself may be missing."""

    transaction: Row | None
    coins: Sequence[Row]
    records: Sequence[Row]

    @property
    def status(self) -> str | None:
        return None if self.transaction is None else str(self.transaction.get("status"))

    @property
    def txid(self) -> str | None:
        """The txid, also of a dead transaction that has given it up."""
        row = self.transaction or {}
        return row.get("txid") or row.get("dead_txid")

    @cached_property
    def parsed(self) -> Transaction | None:
        """The transaction as its bytes have it; None where they can't be read."""
        try:
            return Transaction.from_bytes(bytes((self.transaction or {}).get("raw_tx") or b""))
        except BitcoinFormatError:
            return None

    @cached_property
    def batch(self) -> BatchTree | None:
        """The tree over the records of a batch; None where it is none, or they can't be read."""
        row = self.transaction or {}
        if row.get("kind") != TransactionKind.BATCH:
            return None
        try:
            return BatchTree.of([bytes.fromhex(each["digest"]) for each in row.get("records", ())])
        except (KeyError, TypeError, ValueError):
            return None

    @cached_property
    def places(self) -> Mapping[Any, Row]:
        """Where each record of a batch stands, by its id; nothing where the chain shows no root
        over them."""
        if self.batch is None or not _is_root_in_bytes(self.batch, self):
            return {}
        ids = [each.get("record_id") for each in (self.transaction or {}).get("records", ())]
        return dict(zip(ids, map(asdict, self.batch.places()), strict=True))

    @property
    def is_on_network(self) -> bool:
        return self.status in TRANSACTION_ON_NETWORK

    @property
    def is_settled(self) -> bool:
        return self.is_on_network and (self.transaction or {}).get("settled_at") is not None

    @property
    def is_being_undone(self) -> bool:
        """Dead, with something left to free or to send back."""
        row = self.transaction or {}
        return self.status in TRANSACTION_DEAD and row.get("next_attempt_at") is not None

    @property
    def is_committed(self) -> bool:
        """Its bytes may be with the network."""
        return self.status == TransactionStatus.COMMITTED or self.is_on_network


@dataclass(frozen=True)
class Patch:
    """A patch's state, if it has one, and its records that are confirmed or on their way."""

    uid_tag_id: str
    state: Row | None
    records: Sequence[Row]


def groups() -> Iterator[Group]:
    """Yields what names each transaction id, in the order of the ids."""
    merged = merge(
        keyed(stream(ChainTransaction, {}, _TRANSACTION_FIELDS, order="_id"), "_id", 0),
        keyed(stream(Utxo, {"lock_id": ANY_ID}, _COIN_FIELDS, order="lock_id"), "lock_id", 1),
        keyed(
            stream(
                AuthenticationRecord,
                {"transaction_id": ANY_ID},
                _RECORD_FIELDS,
                order="transaction_id",
            ),
            "transaction_id",
            2,
        ),
    )
    for _, (transactions, coins, records) in merged:
        yield Group(transactions[0] if transactions else None, coins, records)


def patches() -> Iterator[Patch]:
    """Yields each patch with its records, in the order of the uids."""
    statuses = [RecordStatus.CONFIRMED.value, RecordStatus.ANCHORING.value]
    merged = merge(
        keyed(stream(PatchState, {}, ("head", "owner", "record_id"), order="_id"), "_id", 0),
        keyed(
            stream(
                AuthenticationRecord,
                {"status": {"$in": statuses}},
                _PATCH_FIELDS,
                order="uid_tag_id",
            ),
            "uid_tag_id",
            1,
        ),
    )
    for uid_tag_id, (states, records) in merged:
        yield Patch(uid_tag_id, states[0] if states else None, records)


def find_false_bytes(group: Group) -> Iterator[Problem]:
    """A transaction's txid, inputs, outputs, size and fee are those of its bytes."""
    row = group.transaction
    if row is None:
        return
    if group.parsed is None:
        yield "the bytes of the transaction can't be read", str(row["_id"])
        return
    for what, is_true in _compare(row, group.txid, group.parsed):
        if not is_true:
            yield f"the transaction's {what} not as in its bytes", str(row["_id"])


def find_ownerless_locks(group: Group) -> Iterator[Problem]:
    """A held output has an owner that exists; what is not held is reaped after its lease."""
    inputs = {each.get("outpoint") for each in (group.transaction or {}).get("inputs", ())}
    for coin in group.coins:
        if coin.get("status") != UtxoStatus.LOCKED or not coin.get("held"):
            continue
        if group.transaction is None:
            yield "held by a transaction that does not exist", coin["_id"]
        elif coin["_id"] not in inputs:
            yield "held by a transaction that does not spend it", coin["_id"]
        elif group.is_settled or (group.status in TRANSACTION_DEAD and not group.is_being_undone):
            yield "held by a transaction that has ended", coin["_id"]


def find_false_spends(group: Group) -> Iterator[Problem]:
    """An output that we have spent names the transaction of ours, or the one that came before."""
    row = group.transaction or {}
    inputs = {each.get("outpoint") for each in row.get("inputs", ())}
    conflicts = {(c.get("outpoint"), c.get("txid")) for c in row.get("conflicts", ())}
    for coin in group.coins:
        if coin.get("status") != UtxoStatus.SPENT or coin.get("spent_txid") is None:
            continue
        outpoint, spender = coin["_id"], coin["spent_txid"]
        is_ours = group.is_on_network and spender == group.txid and outpoint in inputs
        is_lost = group.status in TRANSACTION_DEAD and (outpoint, spender) in conflicts
        if not (is_ours or is_lost or group.is_being_undone):
            yield "spent, and its transaction does not spend it", outpoint


def find_unsecured_inputs(group: Group) -> Iterator[Problem]:
    """Whatever may be with the network spends outputs that nobody else can take."""
    if group.transaction is None or not group.is_committed:
        return
    coins = {coin["_id"]: coin for coin in group.coins}
    for each in group.transaction.get("inputs", ()):
        coin = coins.get(each.get("outpoint"))
        if coin is None or not _is_secured(coin, is_settled=group.is_settled):
            yield "spends an output that is not its own", str(group.transaction["_id"])
        elif any(coin.get(name) != each.get(name) for name in ("satoshis", "locking_script")):
            yield "spends an output that is not as it says", str(group.transaction["_id"])


def find_false_carriers(group: Group) -> Iterator[Problem]:
    """A record and its transaction agree about how far they are and what was signed.

    So a confirmed record has one accepted transaction: the one that it names.
    """
    row = group.transaction or {}
    anchored = {each.get("record_id"): each for each in row.get("records", ())}
    named = {record["_id"] for record in group.records}
    for record in group.records:
        problem = _find_record_problem(record, group, anchored.get(record["_id"]))
        if problem is not None:
            yield problem, str(record["_id"])
    if group.is_committed:
        for record_id in anchored.keys() - named:
            yield "carried by a transaction that it does not name", str(record_id)


def find_false_head(patch: Patch) -> Iterator[Problem]:
    """A patch's state is where its records lead; one that is being settled may be ahead."""
    confirmed = [r for r in patch.records if r.get("status") == RecordStatus.CONFIRMED]
    line = fold(confirmed)
    if len(line) != len(confirmed):
        yield "its confirmed records form no line", patch.uid_tag_id
        return
    tip = line[-1] if line else None
    head = None if tip is None else tip.get("head")
    ahead = [
        r
        for r in patch.records
        if r.get("status") == RecordStatus.ANCHORING and _continues(r) == head
    ]
    if patch.state is None:
        if tip is not None:
            yield "it has confirmed records and no state", patch.uid_tag_id
    elif not any(_stands_at(patch.state, r) for r in (tip, *ahead) if r is not None):
        yield "its state is not where its records lead", patch.uid_tag_id


def _compare(row: Row, txid: str | None, parsed: Transaction) -> Iterator[tuple[str, bool]]:
    inputs, outputs = row.get("inputs", ()), row.get("outputs", ())
    paid = sum(each.get("satoshis") or 0 for each in inputs)
    fee = paid - sum(output.satoshis for output in parsed.outputs)
    yield "txid is", parsed.txid == txid
    if row.get("kind") == TransactionKind.IMPORTED:
        # None of its outputs was ours when it was made.
        return
    yield (
        "inputs are",
        [each.get("outpoint") for each in inputs] == [str(i.outpoint) for i in parsed.inputs],
    )
    yield "outputs are", all(_is_output(each, parsed) for each in outputs)
    yield "size is", row.get("size_bytes") == parsed.size
    yield "fee is", row.get("fee_satoshis") == fee


def _is_output(stored: Row, parsed: Transaction) -> bool:
    vout = stored.get("vout")
    if not isinstance(vout, int) or not 0 <= vout < len(parsed.outputs):
        return False
    output = parsed.outputs[vout]
    return (stored.get("satoshis"), stored.get("locking_script")) == (
        output.satoshis,
        output.locking_script.hex(),
    )


def _is_secured(coin: Row, *, is_settled: bool) -> bool:
    if coin.get("status") == UtxoStatus.SPENT:
        return True
    return bool(not is_settled and coin.get("status") == UtxoStatus.LOCKED and coin.get("held"))


# The states of a transaction in which its record may be so far; None where there need be none yet.
_STAGES: Mapping[str, frozenset[str | None]] = {
    # Claimed and not yet stored, stored and not yet committed, or about to be sent back.
    RecordStatus.PENDING: frozenset({None, TransactionStatus.SIGNED, *TRANSACTION_DEAD}),
    RecordStatus.ANCHORING: frozenset(
        {
            TransactionStatus.SIGNED,
            TransactionStatus.COMMITTED,
            TransactionStatus.ACCEPTED,
            *TRANSACTION_DEAD,
        }
    ),
    RecordStatus.CONFIRMED: frozenset({*TRANSACTION_ON_NETWORK, TransactionStatus.CONTRADICTED}),
}


def _find_record_problem(record: Row, group: Group, anchored: Row | None) -> str | None:
    status = str(record.get("status"))
    if group.status not in _STAGES.get(status, frozenset()):
        return f"{status}, and its transaction is {group.status or 'not there'}"
    if group.status in TRANSACTION_DEAD and not group.is_being_undone:
        return f"{status}, and its transaction is dead and undone"
    if status == RecordStatus.PENDING:
        return None
    if status == RecordStatus.ANCHORING and group.is_settled:
        return "anchoring, and its transaction is settled"
    return _find_false_words(record, group, anchored)


def _find_false_words(record: Row, group: Group, anchored: Row | None) -> str | None:
    if anchored is None:
        return "its transaction does not carry it"
    if record.get("status") == RecordStatus.ANCHORING and _is_earlier(record, group):
        return None
    is_same = all(record.get(name) == anchored.get(name) for name in _ANCHOR_FIELDS)
    if not is_same or record.get("txid") != group.txid:
        return "it says something else than its transaction"
    if record.get("status") != RecordStatus.CONFIRMED:
        return None
    kind = (group.transaction or {}).get("kind")
    if kind == TransactionKind.BATCH:
        is_carried = _is_in_batch(record, group)
    elif kind in _SINGLE_KINDS:
        is_carried = record.get("batch") is None and _is_in_bytes(anchored, group)
    elif kind == TransactionKind.IMPORTED:
        is_carried = _is_in_older_bytes(anchored, group)
    else:
        return f"its transaction is of the kind {kind!r}, in whose bytes nobody looks for it"
    return None if is_carried else "the bytes of its transaction do not carry it"


def _is_earlier(record: Row, group: Group) -> bool:
    """The fee was raised, and whoever did it died before the record had its new name."""
    earlier = (group.transaction or {}).get("earlier", ())
    return record.get("txid") in {version.get("txid") for version in earlier}


def _is_in_bytes(anchored: Row, group: Group) -> bool:
    """Whatever the payload shows of a record, the issuer's signature is in it."""
    outputs = () if group.parsed is None else group.parsed.outputs
    signature = str(anchored.get("issuer_signature")).encode()
    return any(
        envelope.kind.value == anchored.get("kind") and signature in envelope.payload
        for envelope in _envelopes(output.locking_script for output in outputs)
    )


def _is_in_batch(record: Row, group: Group) -> bool:
    """It is named by its digest, and its path is the one to the root on the chain."""
    place = group.places.get(record["_id"])
    is_named = record.get("head") == record.get("digest")
    return is_named and place is not None and record.get("batch") == place


def _is_root_in_bytes(tree: BatchTree, group: Group) -> bool:
    payload = batch_payload(tree.root, tree.size)
    outputs = () if group.parsed is None else group.parsed.outputs
    return any(
        envelope.kind is Kind.BATCH and envelope.payload == payload
        for envelope in _envelopes(output.locking_script for output in outputs)
    )


def _is_in_older_bytes(anchored: Row, group: Group) -> bool:
    payload = find_payload(bytes((group.transaction or {}).get("raw_tx") or b""))
    return payload is not None and str(anchored.get("issuer_signature")).encode() in payload


def _envelopes(scripts: Iterable[bytes]) -> Iterator[Envelope]:
    for script in scripts:
        try:
            yield Envelope.from_locking_script(script)
        except (BitcoinFormatError, InvalidEnvelopeError):
            continue


def fold(confirmed: Sequence[Row]) -> list[Row]:
    """The records from a registration on, each continuing the one before, as far as they lead."""
    following: dict[str | None, Row] = {_continues(record): record for record in confirmed}
    line: list[Row] = []
    head: str | None = None
    while head in following:
        line.append(following.pop(head))
        head = str(line[-1].get("head"))
    return line


def _continues(record: Row) -> str | None:
    """The head before this record; None for a registration."""
    if record.get("kind") == RecordKind.REGISTRATION:
        return None
    return str((record.get("custody") or {}).get("prev_txid"))


def _stands_at(state: Row, record: Row) -> bool:
    return (state.get("head"), state.get("owner"), state.get("record_id")) == (
        record.get("head"),
        record.get("owner"),
        record["_id"],
    )


def keyed(rows: Iterable[Row], field: str, place: int) -> Iterator[tuple[Any, int, Row]]:
    """Names each row of an ordered stream by a field, and its stream by a place, for `merge`."""
    return ((row[field], place, row) for row in rows)


def merge(*streams: Iterator[tuple[Any, int, Row]]) -> Iterator[tuple[Any, tuple[list[Row], ...]]]:
    """Brings streams that are ordered by one key together: the rows of each, by key."""
    by_key: Callable[[tuple[Any, int, Row]], Any] = lambda item: item[0]  # noqa: E731
    for key, items in groupby(heapq.merge(*streams, key=by_key), key=by_key):
        places: tuple[list[Row], ...] = tuple([] for _ in streams)
        for _, place, row in items:
            places[place].append(row)
        yield key, places
