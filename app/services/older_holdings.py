"""Imports an older system's pool, login keys and settings, each with the doubt that it deserves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from app import extensions
from app.bitcoin.addresses import parse_address
from app.bitcoin.transactions import Outpoint
from app.clients.chain_types import Spend, UnspentOutput
from app.domain.clock import utc_now
from app.domain.older_rows import (
    OlderLoginKey,
    OlderRowError,
    OlderUtxo,
    read_head,
    read_login_key,
    read_utxo,
)
from app.models import older_rows
from app.models.erasure import Erasure
from app.models.patch_state import PatchState
from app.models.setting import FEE_PER_KB, Setting
from app.models.svd_key import SvdKey
from app.models.utxo import NewUtxo, Utxo
from app.services import knobs, subjects
from app.services.older_report import ImportReport, Outcome

_T = TypeVar("_T")
_Row = Mapping[str, Any]
_BATCH = 500
_CHUNK = 20


class HoldingsImport:
    """One run over the rows of a collection; `check` is asked before each batch of writes."""

    def __init__(self, collection: str, report: ImportReport, check: Callable[[], None]) -> None:
        self._collection = collection
        self._report = report
        self._check = check
        self._listed: dict[str, dict[str, UnspentOutput]] = {}

    def run(self, kind: str, rows: Iterable[_Row]) -> None:
        """Imports rows in batches: `pool`, `login_keys`, `settings`, or `heads` to be compared."""
        one = {
            "pool": self._pool,
            "login_keys": self._login_keys,
            "settings": self._settings,
            "heads": self._heads,
        }[kind]
        iterator = iter(rows)
        while batch := list(islice(iterator, _BATCH)):
            one(batch)

    # The pool: the chain says what is there, the rows only where to look.

    def _pool(self, rows: Sequence[_Row]) -> None:
        network = extensions.get().settings.woc_network
        read = [utxo for _, utxo in self._read(rows, lambda row: read_utxo(row, network))]
        known = Utxo.find_all([utxo.outpoint for utxo in read])
        self._report.count(self._collection, Outcome.THERE_ALREADY, len(known))
        new = {utxo.outpoint: utxo for utxo in read if utxo.outpoint not in known}
        spends = _find_spends(sorted(new))
        unspent: list[NewUtxo] = []
        for point, utxo in new.items():
            output = self._list(utxo.address).get(point)
            if point in spends:
                self._report.count(self._collection, Outcome.IMPORTED)
            elif output is None or output.is_spent_in_mempool:
                self._refuse(point, "the chain does not list it for its address")
            elif output.satoshis != utxo.satoshis:
                self._refuse(point, f"it holds {output.satoshis} satoshis on the chain")
            else:
                self._report.count(self._collection, Outcome.IMPORTED)
                unspent.append(_new(utxo, output.height))
        if not self._report.is_dry_run:
            self._check()
            gone = [_new(new[point], None) for point in spends]
            # Whatever the row said: free for a sync to confirm, or spent by whom the chain names.
            Utxo.add_all([*unspent, *gone])
            Utxo.mark_unlocked_spent(spends)

    def _list(self, address: str) -> dict[str, UnspentOutput]:
        if address not in self._listed:
            outputs = extensions.get().chain.list_unspent(address)
            self._listed[address] = {f"{each.txid}:{each.vout}": each for each in outputs}
        return self._listed[address]

    # Login keys: the first key of a user wins, and none counts as proven.

    def _login_keys(self, rows: Sequence[_Row]) -> None:
        read = list(self._read(rows, read_login_key))
        users = [key.user_id for _, key in read]
        ours = dict(SvdKey.objects(user_id__in=users).scalar("user_id", "public_key_hex"))
        erased = Erasure.list_reserved([subjects.digest(user) for user in users])
        new: dict[str, OlderLoginKey] = {}
        keys: set[str] = set()
        for row_id, key in read:
            if ours.get(key.user_id) == key.public_key_hex:
                self._report.count(self._collection, Outcome.THERE_ALREADY)
            elif key.user_id in ours or key.user_id in new:
                self._refuse(row_id, "the user has another key, which came first")
            elif key.public_key_hex in keys:
                self._refuse(row_id, "another user has this key")
            elif subjects.digest(key.user_id) in erased:
                self._refuse(row_id, "the user was erased here")
            else:
                new[key.user_id] = key
                keys.add(key.public_key_hex)
        if self._report.is_dry_run:
            self._report.count(self._collection, Outcome.IMPORTED, len(new))
            return
        self._check()
        stored = older_rows.insert_login_keys([_login_key(key) for key in new.values()])
        self._report.count(self._collection, Outcome.IMPORTED, len(stored))
        for user in new.keys() - stored:
            self._refuse(user, "another user has this key")

    # Settings: those that count here and make sense, where ours says nothing.

    def _settings(self, rows: Sequence[_Row]) -> None:
        ours = Setting.find_all([*knobs.LIVE_KEYS, FEE_PER_KB])
        new: dict[str, int] = {}
        for row in rows:
            key, value = row.get("key"), row.get("value")
            number = knobs.find_number(key, value) if isinstance(key, str) else None
            if number is None:
                self._refuse(row.get("_id"), f"{_name(key)} is no setting here, or out of range")
            elif key in ours or key in new:
                self._report.count(self._collection, Outcome.THERE_ALREADY)
            else:
                new[str(key)] = number
        if not self._report.is_dry_run:
            self._check()
            older_rows.insert_settings(new)
        self._report.count(self._collection, Outcome.IMPORTED, len(new))

    # Patch states are made from records; the older ones only say whether both agree.

    def _heads(self, rows: Sequence[_Row]) -> None:
        read = list(self._read(rows, read_head))
        ours = PatchState.find_all([uid for _, (uid, _) in read])
        for row_id, (uid, head) in read:
            state = ours.get(uid)
            if state is not None and state.head == head:
                self._report.count(self._collection, Outcome.THERE_ALREADY)
                continue
            shown = "no patch" if state is None else state.head
            reason = f"the older system's head is {head}, the chain shows {shown}"
            self._report.note(self._collection, row_id, Outcome.REFUSED, reason, uid)

    def _read(self, rows: Sequence[_Row], read: Callable[[_Row], _T]) -> Iterator[tuple[Any, _T]]:
        for row in rows:
            try:
                yield row.get("_id"), read(row)
            except OlderRowError as error:
                self._refuse(row.get("_id"), str(error))

    def _refuse(self, row_id: object, reason: str) -> None:
        self._report.note(self._collection, row_id, Outcome.REFUSED, reason)


def _find_spends(points: Sequence[str]) -> dict[str, str]:
    spends: dict[str, str] = {}
    for start in range(0, len(points), _CHUNK):
        asked = [Outpoint.from_text(each) for each in points[start : start + _CHUNK]]
        outcomes = extensions.get().chain.find_spends(asked)
        spends.update({str(p): o.txid for p, o in outcomes.items() if isinstance(o, Spend)})
    return spends


def _new(utxo: OlderUtxo, height: int | None) -> NewUtxo:
    settings = extensions.get().settings
    return NewUtxo(
        outpoint=Outpoint.from_text(utxo.outpoint),
        satoshis=utxo.satoshis,
        locking_script=parse_address(utxo.address, settings.woc_network).locking_script(),
        key_identifier=_key_identifier(utxo),
        address=utxo.address,
        is_spendable=False,
        block_height=height,
    )


def _key_identifier(utxo: OlderUtxo) -> str:
    """Our name for our own key; for another address the older one."""
    settings = extensions.get().settings
    is_ours = utxo.address == settings.utxo_funding_address
    return settings.utxo_funding_key_identifier if is_ours else utxo.key_identifier or "unknown"


def _login_key(key: OlderLoginKey) -> SvdKey:
    revoked = {"revoked_at": utc_now(), "revoked_by": "import"} if key.is_revoked else {}
    return SvdKey(
        user_id=key.user_id,
        public_key_hex=key.public_key_hex,
        registered_at=key.registered_at or utc_now(),
        **revoked,
    )


def _name(key: object) -> str:
    return repr(key)[:60]
