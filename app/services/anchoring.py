"""From claim to settled: one pass over one record or five hundred.

Each step is durable before the next begins, so a crash anywhere leaves something that the sweeper
or the reaper mends: see the table in docs/architecture.md.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bson import ObjectId

from app import extensions
from app.clients.outcomes import ClientError
from app.domain.backoff import backoff
from app.domain.clock import utc_now
from app.domain.records import RecordKind
from app.domain.selection import Need
from app.errors import PoolEmptyError, SignerUnavailableError, UnavailableError
from app.logs import chain_event
from app.models.record import AuthenticationRecord
from app.models.transaction import AnchoredField, ChainTransaction, TransactionKind
from app.models.utxo import Utxo
from app.services import commitment, contradiction, delivery, knobs, pool, pool_split
from app.services.endorsement import Endorsement, endorse, largest_output
from app.services.signing import Draft, WrongKeyError, sign_all

logger = logging.getLogger(__name__)

_KIND = {
    RecordKind.REGISTRATION.value: TransactionKind.REGISTRATION,
    RecordKind.TRANSFER.value: TransactionKind.TRANSFER,
}


@dataclass(frozen=True)
class AnchoringResult:
    """How a pass ended: records claimed, settled, and why the others wait (record id -> error).

    `is_full` says that it looked at as many as it was told to, so that more may be due.
    """

    claimed: int
    settled: int
    waiting: Mapping[ObjectId, UnavailableError]
    is_full: bool = False


def anchor_due(limit: int) -> AnchoringResult:
    """Anchors pending records whose time has come, up to `limit`."""
    due = AuthenticationRecord.list_due(utc_now(), limit)
    return replace(anchor(due), is_full=len(due) >= limit)


def anchor(records: Sequence[AuthenticationRecord]) -> AnchoringResult:
    """Claims records and brings those that it won to the network, one transaction each."""
    claimed = _drop_orphans(AuthenticationRecord.claim(records, utc_now()))
    if not claimed:
        return AnchoringResult(0, 0, {})
    today = knobs.load()
    rate = today.satoshis_per_kilobyte
    needs = _list_needs(claimed, rate)
    funded, unfunded = _lock([r for r in claimed if r.transaction_id in needs], needs)
    pool_split.ask_if_low(today)
    waiting: dict[ObjectId, UnavailableError] = dict(
        _release(unfunded, PoolEmptyError("the pool has no output left that pays for it"))
    )
    transactions: list[ChainTransaction] = []
    try:
        transactions = _sign(funded, rate)
    except (ClientError, SignerUnavailableError) as error:
        waiting.update(_give_back([record for record, _ in funded], error))
    if transactions:
        stored = commitment.persist(transactions)
        delivered = delivery.deliver(commitment.commit(stored))
    else:
        delivered = []
    return AnchoringResult(len(claimed), sum(len(t.records) for t in delivered), waiting)


def _drop_orphans(claimed: Sequence[AuthenticationRecord]) -> list[AuthenticationRecord]:
    """Fails transfers that continue a head which no confirmed record has any more.

    After the claim, and `contradiction` looks for claims after it has taken confirmation away: one
    of the two sees the other.
    """
    continued = [each.custody.prev_txid for each in claimed if each.custody is not None]
    heads = AuthenticationRecord.list_confirmed_heads(continued)
    kept = []
    for record in claimed:
        if record.custody is None or record.custody.prev_txid in heads:
            kept.append(record)
        else:
            AuthenticationRecord.fail_claimed(record, contradiction.GONE)
    return kept


def _list_needs(records: Sequence[AuthenticationRecord], rate: int) -> dict[ObjectId, Need]:
    """What each record's transaction must pay, by its id; one that can't be written down fails.

    Nothing that the API accepts is such a record, but one alone must not hold up all the others.
    """
    payload = extensions.get().settings.onchain_payload
    needs = {}
    for record in records:
        try:
            output = largest_output(record.content, payload)
        except ValueError as error:
            fail_unwritable(record, error)
        else:
            needs[record.transaction_id] = Need((output,), rate)
    return needs


def fail_unwritable(record: AuthenticationRecord, error: ValueError) -> None:
    """Fails a claimed record that can't be written down."""
    logger.error("record can't be anchored", exc_info=error, extra={"record_id": str(record.id)})
    AuthenticationRecord.fail_claimed(record, f"not representable: {error}")


def _lock(
    records: Sequence[AuthenticationRecord], needs: Mapping[ObjectId, Need]
) -> tuple[list[tuple[AuthenticationRecord, list[Utxo]]], list[AuthenticationRecord]]:
    settings = extensions.get().settings
    locked = pool.lock(needs, key_identifier=settings.utxo_funding_key_identifier)
    funded = [(r, locked[r.transaction_id]) for r in records if r.transaction_id in locked]
    unfunded = [r for r in records if r.transaction_id not in locked]
    return funded, unfunded


def _sign(
    funded: Sequence[tuple[AuthenticationRecord, list[Utxo]]], rate: int
) -> list[ChainTransaction]:
    if not funded:
        return []
    endorsements = endorse([record for record, _ in funded])
    drafts = [
        Draft(
            transaction_id=record.transaction_id,
            kind=_KIND[record.kind],
            coins=coins,
            outputs=[endorsement.output],
            records=[anchored(record, endorsement)],
            request_ids=[record.request_id] if record.request_id else [],
        )
        for (record, coins), endorsement in zip(funded, endorsements, strict=True)
    ]
    return sign_all(drafts, satoshis_per_kilobyte=rate)


def anchored(record: AuthenticationRecord, endorsement: Endorsement) -> AnchoredField:
    """What a transaction keeps of a record that it carries; its head is named when it is signed."""
    return AnchoredField(
        record_id=record.id,
        kind=record.kind,
        uid_tag_id=record.uid_tag_id,
        owner=record.owner,
        prev_head=record.custody.prev_txid if record.custody else None,
        digest=endorsement.digest,
        issuer_pubkey=endorsement.issuer_pubkey,
        issuer_signature=endorsement.issuer_signature,
    )


def _give_back(
    records: Sequence[AuthenticationRecord], error: Exception
) -> Mapping[ObjectId, UnavailableError]:
    """Frees outputs and claims of an attempt of which nothing was persisted.

    A coin that the signer can't unlock stays locked until its lease is over, so that the next pass
    takes others.
    """
    wrong = error.transaction_ids if isinstance(error, WrongKeyError) else ()
    Utxo.release_unheld([r.transaction_id for r in records if r.transaction_id not in wrong])
    return _release(records, SignerUnavailableError(f"the signer did not sign: {error}"))


def _release(
    records: Sequence[AuthenticationRecord], error: UnavailableError
) -> Mapping[ObjectId, UnavailableError]:
    if not records:
        return {}
    logger.warning(
        "%d records wait: %s",
        len(records),
        error,
        extra=chain_event(
            "waiting",
            None,
            reason=error.message,
            record_ids=[str(record.id) for record in records],
            request_ids=[record.request_id for record in records if record.request_id],
        ),
    )
    AuthenticationRecord.release_claims(
        [record.transaction_id for record in records],
        reason=error.message,
        next_attempt_at=_next_attempt(records[0], utc_now()),
    )
    return {record.id: error for record in records}


def _next_attempt(record: AuthenticationRecord, now: datetime) -> datetime:
    # Nothing is wrong with the record, so the wait grows with its age and stays short.
    age = now - record.created_at
    tries = 0 if age < timedelta(seconds=30) else 3
    return now + backoff(tries, base_seconds=2, cap_seconds=30)
