"""The state machines, as data: which event moves a thing from where to where.

A status changes only by an event, in one compare-and-set that names the states it may leave
(`StatefulQuerySet.transition`). An event that finds the thing elsewhere changes nothing: late and
doubled events are harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class RecordStatus(StrEnum):
    PENDING = "pending"
    ANCHORING = "anchoring"
    CONFIRMED = "confirmed"
    FAILED = "failed"


class RecordEvent(StrEnum):
    COMMITTED = "committed"
    SETTLED = "settled"
    RETURNED = "returned"
    GIVEN_UP = "given_up"
    CONTRADICTED = "contradicted"


class TransactionStatus(StrEnum):
    SIGNED = "signed"
    COMMITTED = "committed"
    ACCEPTED = "accepted"
    MINED = "mined"
    FINAL = "final"
    ABANDONED = "abandoned"
    REJECTED = "rejected"
    CONTRADICTED = "contradicted"


class TransactionEvent(StrEnum):
    COMMITTED = "committed"
    ABANDONED = "abandoned"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    MINED = "mined"
    REORGANISED = "reorganised"
    BURIED = "buried"
    CONTRADICTED = "contradicted"


class UtxoStatus(StrEnum):
    UNCONFIRMED = "unconfirmed"
    AVAILABLE = "available"
    LOCKED = "locked"
    SPENT = "spent"
    VOID = "void"


class UtxoEvent(StrEnum):
    CONFIRMED = "confirmed"
    LOCKED = "locked"
    HELD = "held"
    RELEASED = "released"
    SPENT = "spent"
    SPENT_ELSEWHERE = "spent_elsewhere"
    SUSPECTED = "suspected"
    RESTORED = "restored"
    UNSEEN = "unseen"
    LOST = "lost"
    VOIDED = "voided"


class ClaimStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    EXPIRED = "expired"


class ClaimEvent(StrEnum):
    APPROVED = "approved"
    EXPIRED = "expired"
    CONFIRMED = "confirmed"
    FAILED = "failed"


class CodeStatus(StrEnum):
    REQUESTED = "requested"
    SENDING = "sending"
    SENT = "sent"
    USED = "used"
    FAILED = "failed"


class CodeEvent(StrEnum):
    REPLACED = "replaced"
    CLAIMED = "claimed"
    SENT = "sent"
    RETURNED = "returned"
    GIVEN_UP = "given_up"
    CONTRADICTED = "contradicted"
    USED = "used"


@dataclass(frozen=True)
class Move:
    """One allowed change: from any of `sources` to `target`."""

    sources: tuple[str, ...]
    target: str


RECORD_MOVES: Mapping[str, Move] = {
    # The transaction that carries the record may be broadcast from here on.
    RecordEvent.COMMITTED: Move((RecordStatus.PENDING,), RecordStatus.ANCHORING),
    RecordEvent.SETTLED: Move((RecordStatus.ANCHORING,), RecordStatus.CONFIRMED),
    # Its transaction was rejected or abandoned: it waits for another one.
    RecordEvent.RETURNED: Move(
        (RecordStatus.PENDING, RecordStatus.ANCHORING), RecordStatus.PENDING
    ),
    # Only while nothing that carries it can reach the chain.
    RecordEvent.GIVEN_UP: Move((RecordStatus.PENDING, RecordStatus.ANCHORING), RecordStatus.FAILED),
    # Its transaction had been accepted and lost to another: it is about to be sent back.
    RecordEvent.CONTRADICTED: Move((RecordStatus.CONFIRMED,), RecordStatus.ANCHORING),
}

TRANSACTION_MOVES: Mapping[str, Move] = {
    # Committed and abandoned exclude each other: both leave `signed`, and only one can.
    TransactionEvent.COMMITTED: Move((TransactionStatus.SIGNED,), TransactionStatus.COMMITTED),
    TransactionEvent.ABANDONED: Move((TransactionStatus.SIGNED,), TransactionStatus.ABANDONED),
    TransactionEvent.ACCEPTED: Move((TransactionStatus.COMMITTED,), TransactionStatus.ACCEPTED),
    TransactionEvent.REJECTED: Move((TransactionStatus.COMMITTED,), TransactionStatus.REJECTED),
    # Mined again in another block after a reorganisation is the same event.
    TransactionEvent.MINED: Move(
        (TransactionStatus.ACCEPTED, TransactionStatus.MINED), TransactionStatus.MINED
    ),
    TransactionEvent.REORGANISED: Move((TransactionStatus.MINED,), TransactionStatus.ACCEPTED),
    TransactionEvent.BURIED: Move((TransactionStatus.MINED,), TransactionStatus.FINAL),
    # A block, as deep as what we call final, spends its input in another transaction; or it spends
    # an output of such a one.
    TransactionEvent.CONTRADICTED: Move(
        (TransactionStatus.COMMITTED, TransactionStatus.ACCEPTED), TransactionStatus.CONTRADICTED
    ),
}

UTXO_MOVES: Mapping[str, Move] = {
    UtxoEvent.CONFIRMED: Move((UtxoStatus.UNCONFIRMED,), UtxoStatus.AVAILABLE),
    UtxoEvent.LOCKED: Move((UtxoStatus.AVAILABLE,), UtxoStatus.LOCKED),
    # Held: the lock is permanent, only its transaction's verdict ends it.
    UtxoEvent.HELD: Move((UtxoStatus.LOCKED,), UtxoStatus.LOCKED),
    UtxoEvent.RELEASED: Move((UtxoStatus.LOCKED,), UtxoStatus.AVAILABLE),
    # The network called a spend of it invalid: a sync has to look at it before it is used again.
    UtxoEvent.SUSPECTED: Move((UtxoStatus.LOCKED,), UtxoStatus.UNCONFIRMED),
    UtxoEvent.SPENT: Move((UtxoStatus.LOCKED,), UtxoStatus.SPENT),
    # Somebody else holds the key too: the chain shows a spend that is not ours.
    UtxoEvent.SPENT_ELSEWHERE: Move(
        (UtxoStatus.UNCONFIRMED, UtxoStatus.AVAILABLE, UtxoStatus.LOCKED), UtxoStatus.SPENT
    ),
    # The chain lists it as unspent, whatever was said before: a spend that a mempool dropped or a
    # reorganisation undid. It earns its confirmations like a new one.
    UtxoEvent.RESTORED: Move((UtxoStatus.SPENT,), UtxoStatus.UNCONFIRMED),
    # The chain knows neither it nor its transaction any more; it comes back once it is listed.
    UtxoEvent.UNSEEN: Move((UtxoStatus.AVAILABLE,), UtxoStatus.UNCONFIRMED),
    # Spent by another transaction than by ours.
    UtxoEvent.LOST: Move((UtxoStatus.SPENT,), UtxoStatus.SPENT),
    # The transaction that was to make it can never be mined: it will never exist.
    UtxoEvent.VOIDED: Move(
        (UtxoStatus.UNCONFIRMED, UtxoStatus.AVAILABLE, UtxoStatus.LOCKED, UtxoStatus.SPENT),
        UtxoStatus.VOID,
    ),
}

CLAIM_MOVES: Mapping[str, Move] = {
    # Approving and expiring exclude each other: both leave `pending`, and only one can.
    ClaimEvent.APPROVED: Move((ClaimStatus.PENDING,), ClaimStatus.APPROVED),
    ClaimEvent.EXPIRED: Move((ClaimStatus.PENDING,), ClaimStatus.EXPIRED),
    # An approved claim ends as its record does, and never by its age.
    ClaimEvent.CONFIRMED: Move((ClaimStatus.APPROVED,), ClaimStatus.CONFIRMED),
    ClaimEvent.FAILED: Move((ClaimStatus.APPROVED,), ClaimStatus.FAILED),
}

CODE_MOVES: Mapping[str, Move] = {
    # Whoever asks again gets another code, however far the last one came.
    CodeEvent.REPLACED: Move(tuple(CodeStatus), CodeStatus.REQUESTED),
    # From `sending` once its lease is over: whoever sent it has died.
    CodeEvent.CLAIMED: Move((CodeStatus.REQUESTED, CodeStatus.SENDING), CodeStatus.SENDING),
    CodeEvent.SENT: Move((CodeStatus.SENDING,), CodeStatus.SENT),
    # Certainly not sent.
    CodeEvent.RETURNED: Move((CodeStatus.SENDING,), CodeStatus.REQUESTED),
    CodeEvent.GIVEN_UP: Move((CodeStatus.REQUESTED, CodeStatus.SENDING), CodeStatus.FAILED),
    # The mail may be there before its sender has noted so.
    CodeEvent.USED: Move((CodeStatus.SENDING, CodeStatus.SENT), CodeStatus.USED),
}

# Nothing more will happen to these, but for a record whose transaction loses after all.
RECORD_TERMINAL = frozenset({RecordStatus.CONFIRMED, RecordStatus.FAILED})
CLAIM_TERMINAL = frozenset({ClaimStatus.CONFIRMED, ClaimStatus.FAILED, ClaimStatus.EXPIRED})
# Its bytes may be on the chain or on the way to it.
TRANSACTION_LIVE = frozenset(
    {
        TransactionStatus.SIGNED,
        TransactionStatus.COMMITTED,
        TransactionStatus.ACCEPTED,
        TransactionStatus.MINED,
        TransactionStatus.FINAL,
    }
)
TRANSACTION_ON_NETWORK = frozenset(
    {TransactionStatus.ACCEPTED, TransactionStatus.MINED, TransactionStatus.FINAL}
)
# Nothing of ours may spend these any more, and the chain does not list them.
UTXO_GONE = frozenset({UtxoStatus.SPENT, UtxoStatus.VOID})
# Somebody has to look at it again: commit, send, settle or track it.
TRANSACTION_WAITING = TRANSACTION_LIVE - {TransactionStatus.FINAL}
TRANSACTION_DEAD = frozenset(
    {TransactionStatus.ABANDONED, TransactionStatus.REJECTED, TransactionStatus.CONTRADICTED}
)
