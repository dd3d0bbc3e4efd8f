"""Whole collections as their bytes, for dumps: nothing is interpreted, so nothing gets lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import ConfigurationError, OperationFailure

from app.domain.clock import utc_now
from app.models import proven
from app.models.claim_intent import ClaimIntent
from app.models.migration import AppliedMigration
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.setting import RESTORED, UNCERTAIN, Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.models.verification_code import VerificationCode

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument, tz_aware=True)
_BATCH = 1000
# Codes are dead in minutes, and name addresses of mail.
_LEFT_OUT = frozenset({VerificationCode._get_collection_name()})
# Without a snapshot what is read later is newer. So a transaction may be further than its outputs
# and records, never the other way round: from its bytes all else can be brought up to it.
_FIRST = (AuthenticationRecord._get_collection_name(), PatchState._get_collection_name())
_LAST = (Utxo._get_collection_name(), ChainTransaction._get_collection_name())
# When nothing that was restored is due: not before it was compared with the chain.
_HELD_UNTIL = datetime(9000, 1, 1, tzinfo=UTC)
_WAITING = (AuthenticationRecord, ChainTransaction, ClaimIntent)


def list_names(database: Any) -> list[str]:
    """Lists the collections that a dump takes, in the order in which it reads them."""
    names = sorted(n for n in database.list_collection_names() if not n.startswith("system."))
    middle = [n for n in names if n not in (*_FIRST, *_LAST, *_LEFT_OUT)]
    return [n for n in (*_FIRST, *middle, *_LAST) if n in names]


def list_filled(database: Any) -> list[str]:
    """Lists collections with anything in them, but for the record of migrations."""
    kept = AppliedMigration._get_collection_name()
    return [n for n in list_names(database) if n != kept and database[n].find_one({}, {"_id": 1})]


@contextmanager
def snapshot(database: Any) -> Iterator[Any]:
    """A session whose reads all see one moment; None where the server has no such thing."""
    with database.client.start_session(snapshot=True) as session:
        yield session if _is_honoured(database, session) else None


def _is_honoured(database: Any, session: Any) -> bool:
    """Whether the server reads as of a moment: some promise it and don't. So it is tried."""
    settings = database[Setting._get_collection_name()]
    probe = {"key": f"DUMP_PROBE:{ObjectId()}"}
    try:
        settings.find_one(probe, session=session)
        settings.insert_one(dict(probe))
        return settings.find_one(probe, session=session) is None
    except (OperationFailure, ConfigurationError):
        return False
    finally:
        settings.delete_one(probe)


def stream(database: Any, name: str, session: Any) -> Iterator[RawBSONDocument]:
    """Yields the rows of a collection, one that is gone has none."""
    collection = database.get_collection(name, codec_options=_RAW)
    with collection.find({}, batch_size=_BATCH, session=session) as rows:
        yield from rows


def insert(database: Any, name: str, rows: Sequence[RawBSONDocument]) -> None:
    """Stores rows as they were; the mark of an earlier restoring is not among them."""
    if name == Setting._get_collection_name():
        rows = [row for row in rows if row.get("key") not in (RESTORED, UNCERTAIN)]
    if rows:
        database.get_collection(name, codec_options=_RAW).insert_many(rows, ordered=False)


def drop_all(database: Any) -> None:
    """Deletes everything."""
    for name in database.list_collection_names():
        if not name.startswith("system."):
            database.drop_collection(name)


def hold_back() -> None:
    """Lets nothing of what was restored be taken up: no output is spent, nothing is sent.

    Outputs that were free, or locked for a moment, may be spent by now: a sync has to confirm them.
    """
    proven.doubt_outputs()
    for document in _WAITING:
        document._get_collection().update_many(
            {"next_attempt_at": {"$ne": None}}, {"$set": {"next_attempt_at": _HELD_UNTIL}}
        )


def release() -> int:
    """Lets what was held back be due; answers how much there is of it."""
    now = utc_now()
    return sum(
        document._get_collection()
        .update_many({"next_attempt_at": _HELD_UNTIL}, {"$set": {"next_attempt_at": now}})
        .modified_count
        for document in _WAITING
    )


def count_changed_since(moment: datetime, names: Collection[str], database: Any) -> int:
    """Counts rows that were changed since, as far as they say so."""
    return sum(database[name].count_documents({"updated_at": {"$gte": moment}}) for name in names)
