"""Makes the pool agree with what the chain says pays an address of ours.

A list of unspent outputs is a claim. What it lacks is believed spent only when the chain names the
spender, what it shows again is taken back only when the chain says that it is unspent and no live
transaction of ours spends it. Locked outputs belong to their transaction and are never touched.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from app import extensions
from app.bitcoin.addresses import parse_address
from app.bitcoin.transactions import Outpoint
from app.clients.chain_types import OUTPUT_UNKNOWN, UNSPENT, Spend, SpentOutcome, UnspentOutput
from app.domain.clock import utc_now
from app.domain.states import TRANSACTION_LIVE, TRANSACTION_ON_NETWORK, UtxoStatus
from app.models.setting import POOL_SYNCED, Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import NewUtxo, Utxo
from app.services import knobs
from app.services.maintenance import Guard, exclusive
from app.services.reshaping import OnProgress, unwatched

logger = logging.getLogger(__name__)

# One bulk question to the chain service.
_CHUNK = 20
# Outputs wrongly marked spent are few; what is left over is taken back by the next round.
_MAX_RESTORED = 200


@dataclass(frozen=True)
class Watched:
    """An address whose outputs we keep, and the signer's name of its key."""

    address: str
    key_identifier: str

    @classmethod
    def funding(cls) -> Watched:
        settings = extensions.get().settings
        return cls(settings.utxo_funding_address, settings.utxo_funding_key_identifier)


@dataclass(frozen=True)
class SyncReport:
    """Outputs listed as unspent, and how many were added, confirmed, spent, restored, set aside.

    `unexplained` are gone from the list without a spend to show for it: they stay as they are.
    """

    listed: int
    added: int
    confirmed: int
    spent: int
    restored: int
    set_aside: int
    unexplained: int


@dataclass(frozen=True)
class Survey:
    """What would have to change, by outpoint; nothing has changed yet."""

    listed: int
    new: Sequence[NewUtxo] = ()
    confirmed: Mapping[str, int | None] = field(default_factory=dict)
    spent: Mapping[str, str] = field(default_factory=dict)
    restored: Mapping[str, str] = field(default_factory=dict)
    unseen: Sequence[str] = ()
    unexplained: int = 0
    # What could be spent once it has changed.
    spendable: Sequence[Utxo] = ()


def sync(watched: Watched | None = None, *, on_progress: OnProgress = unwatched) -> SyncReport:
    """Brings the pool, or another address, up to date.

    Raises:
        LockHeldError: somebody else maintains the pool.
        ServiceUnavailableError: the chain service gave no complete answer; nothing changes.
    """
    with exclusive() as guard:
        return sync_under(guard, watched, on_progress=on_progress)


def sync_under(
    guard: Guard, watched: Watched | None = None, *, on_progress: OnProgress = unwatched
) -> SyncReport:
    """The same for whoever has the lock."""
    found = survey(watched or Watched.funding(), on_progress=on_progress)
    guard.check()
    on_progress("write", 0, None)
    report = SyncReport(
        listed=found.listed,
        spent=Utxo.mark_unlocked_spent(found.spent),
        restored=Utxo.restore_each(found.restored),
        added=Utxo.add_all(found.new),
        # After the restored ones, which may be deep enough at once.
        confirmed=Utxo.confirm_each(found.confirmed),
        set_aside=Utxo.mark_unseen(found.unseen),
        unexplained=found.unexplained,
    )
    if watched is None or watched == Watched.funding():
        Setting.put(POOL_SYNCED, utc_now())
    logger.info("pool synced", extra={"event": "pool.synced", **asdict(report)})
    return report


def survey(watched: Watched, *, on_progress: OnProgress = unwatched) -> Survey:
    """Asks database and chain, and changes nothing.

    Our rows are read before the list is: what enters the pool meanwhile is not missed in it.
    """
    rows = {row.outpoint: row for row in Utxo.list_open(watched.key_identifier)}
    rows = {point: row for point, row in rows.items() if row.address == watched.address}
    on_progress("ask for the unspent outputs", 0, None)
    chain = extensions.get().chain
    tip_height = chain.get_chain_info().tip_height
    listed = _list_ours(watched, rows)
    known = Utxo.find_all([point for point in listed if point not in rows])
    wrong = {p: row for p, row in known.items() if row.status == UtxoStatus.SPENT.value}
    mine = _statuses_of_mine([*_txids(listed), *(r.spent_txid for r in wrong.values())])
    spendable = _spendable(listed, tip_height, mine)
    spent, unseen, unexplained = _explain_missing(
        [point for point in rows if point not in listed], listed, on_progress
    )
    restored = _confirm_unspent(
        {p: row.spent_txid for p, row in wrong.items() if row.spent_txid not in mine}
    )
    waiting = {p for p, row in rows.items() if row.status == UtxoStatus.UNCONFIRMED.value}
    return Survey(
        listed=len(listed),
        new=[
            _new(o, watched, p in spendable) for p, o in listed.items() if _is_new(p, rows, known)
        ],
        confirmed={p: listed[p].height for p in spendable if p in waiting or p in restored},
        spent=spent,
        restored=restored,
        unseen=unseen,
        unexplained=unexplained,
        spendable=[_row(listed[p], watched) for p in spendable if p not in known or p in restored],
    )


def _list_ours(watched: Watched, rows: Mapping[str, Utxo]) -> dict[str, UnspentOutput]:
    """The outputs that are listed under the address, pay it, and are spent in no mempool."""
    script = _script(watched)
    ours = {}
    for output in extensions.get().chain.list_unspent(watched.address):
        point = str(Outpoint(output.txid, output.vout))
        row = rows.get(point)
        is_odd = output.locking_script not in (None, script) or (
            row is not None and row.satoshis != output.satoshis
        )
        if is_odd:
            logger.warning(
                "the chain service lists an output that is not ours as it says",
                extra={"event": "pool.odd_output", "outpoint": point},
            )
        elif not output.is_spent_in_mempool:
            ours[point] = output
    return ours


def _statuses_of_mine(txids: Iterable[str | None]) -> dict[str, str]:
    """Those of the transactions that are ours and live, with their status."""
    asked = sorted({txid for txid in txids if txid})
    found = ChainTransaction.objects(txid__in=asked, status__in=list(TRANSACTION_LIVE))
    return dict(found.scalar("txid", "status")) if asked else {}


def _txids(listed: Mapping[str, UnspentOutput]) -> list[str]:
    return [output.txid for output in listed.values() if output.height is None]


def _spendable(
    listed: Mapping[str, UnspentOutput], tip_height: int, mine: Mapping[str, str]
) -> set[str]:
    """Outputs with enough confirmations, and those of our own transactions at once."""
    needed = knobs.load().min_confirmations
    return {
        point
        for point, output in listed.items()
        if _confirmations(output, tip_height) >= needed
        or mine.get(output.txid) in TRANSACTION_ON_NETWORK
    }


def _confirmations(output: UnspentOutput, tip_height: int) -> int:
    return 0 if output.height is None else tip_height - output.height + 1


def _explain_missing(
    missing: Sequence[str], listed: Mapping[str, UnspentOutput], on_progress: OnProgress
) -> tuple[dict[str, str], list[str], int]:
    """Asks who spent what the list lacks: spends by outpoint, outputs to set aside, the rest.

    Asks no further once a whole chunk has no spend to show: then it is the list that is wrong.
    """
    spent: dict[str, str] = {}
    unknown: list[str] = []
    # In another order each time, so that a list which stays wrong hides nothing for ever.
    asked = random.sample(missing, len(missing))
    for start in range(0, len(asked), _CHUNK):
        on_progress("ask who spent them", start, len(asked))
        outcomes = _ask(asked[start : start + _CHUNK])
        shown = {p: o.txid for p, o in outcomes.items() if isinstance(o, Spend)}
        unknown += [point for point, outcome in outcomes.items() if outcome is OUTPUT_UNKNOWN]
        spent.update(shown)
        if not shown:
            break
    unseen = _list_vanished(unknown) if listed else []
    unexplained = len(missing) - len(spent) - len(unseen)
    if unexplained:
        logger.warning(
            "outputs are missing from the chain's list, with no spend to show for it",
            extra={"event": "pool.unexplained", "count": unexplained},
        )
    return spent, unseen, unexplained


def _ask(points: Sequence[str]) -> dict[str, SpentOutcome]:
    outcomes = extensions.get().chain.find_spends([Outpoint.from_text(each) for each in points])
    return {str(outpoint): outcome for outpoint, outcome in outcomes.items()}


def _list_vanished(points: Sequence[str]) -> list[str]:
    """Those whose transaction the chain does not know either, and that is not ours to send again.

    A payment to us that a reorganisation undid: spending it would make a transaction that waits for
    its parent for ever.
    """
    txids = {point: Outpoint.from_text(point).txid for point in points}
    mine = _statuses_of_mine(txids.values())
    foreign = [point for point, txid in txids.items() if txid not in mine]
    if not foreign:
        return []
    statuses = extensions.get().chain.list_transaction_statuses(txids[p] for p in foreign)
    return [p for p in foreign if txids[p] in statuses and statuses[txids[p]].kind == "unknown"]


def _confirm_unspent(wrong: Mapping[str, str]) -> dict[str, str]:
    """Those that the chain, asked anew, says are unspent."""
    asked = sorted(wrong)[:_MAX_RESTORED]
    outcomes = _ask(asked) if asked else {}
    return {point: wrong[point] for point, outcome in outcomes.items() if outcome is UNSPENT}


def _is_new(point: str, rows: Mapping[str, Utxo], known: Mapping[str, Utxo]) -> bool:
    return point not in rows and point not in known


def _new(output: UnspentOutput, watched: Watched, is_spendable: bool) -> NewUtxo:
    return NewUtxo(
        outpoint=Outpoint(output.txid, output.vout),
        satoshis=output.satoshis,
        locking_script=_script(watched),
        key_identifier=watched.key_identifier,
        address=watched.address,
        is_spendable=is_spendable,
        block_height=output.height,
    )


def _row(output: UnspentOutput, watched: Watched) -> Utxo:
    return Utxo(
        outpoint=str(Outpoint(output.txid, output.vout)),
        satoshis=output.satoshis,
        locking_script=_script(watched).hex(),
        key_identifier=watched.key_identifier,
        address=watched.address,
        status=UtxoStatus.AVAILABLE.value,
    )


def _script(watched: Watched) -> bytes:
    return parse_address(watched.address, extensions.get().settings.woc_network).locking_script()
