"""What the chain knows of one script: its unspent outputs, its balance and its history."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.bitcoin.hashes import is_txid
from devnet.chain.rows import StoredOutput
from devnet.chain.store import Store, stored_output


@dataclass(frozen=True)
class OutputPage:
    """Some confirmed outputs and where the next page begins, "" at the end."""

    outputs: list[StoredOutput]
    next_token: str


@dataclass(frozen=True)
class HistoryPage:
    """Some mined transactions as (txid, height) and where the next page begins, "" at the end."""

    entries: list[tuple[str, int]]
    next_token: str


def list_unconfirmed_unspent(store: Store, script_hash: str, limit: int) -> list[StoredOutput]:
    """Return outputs of the mempool, those that the mempool spends again included."""
    rows = store.rows(
        "SELECT * FROM unspent WHERE script_hash = ? AND height IS NULL LIMIT ?",
        (script_hash, limit),
    )
    return [stored_output(row) for row in rows]


def page_confirmed_unspent(
    store: Store, script_hash: str, limit: int, token: str = ""
) -> OutputPage:
    """Return mined outputs that no block spends, oldest first, from a token on."""
    start = _read_token(token, 3) or ("-1", "", "-1")
    rows = store.rows(
        "SELECT * FROM unspent WHERE script_hash = ? AND height IS NOT NULL"
        " AND (height, txid, vout) > (?, ?, ?)"
        " ORDER BY height, txid, vout LIMIT ?",
        (script_hash, int(start[0]), start[1], int(start[2]), limit + 1),
    )
    outputs = [stored_output(row) for row in rows[:limit]]
    if len(rows) <= limit:
        return OutputPage(outputs, "")
    last = outputs[-1]
    return OutputPage(outputs, _write_token((last.height, last.txid, last.vout)))


def confirmed_balance(store: Store, script_hash: str) -> int:
    """Return satoshis in mined outputs that no block spends."""
    return _sum(
        store,
        "SELECT sum(satoshis) FROM unspent WHERE script_hash = ? AND height IS NOT NULL",
        script_hash,
    )


def unconfirmed_balance(store: Store, script_hash: str) -> int:
    """Return satoshis that the mempool brings, less those of mined outputs that it spends."""
    return _sum(
        store,
        "SELECT sum(CASE WHEN height IS NULL THEN satoshis ELSE -satoshis END) FROM unspent"
        " WHERE script_hash = ? AND (height IS NULL) = (spent_by IS NULL)",
        script_hash,
    )


def _sum(store: Store, sql: str, script_hash: str) -> int:
    (total,) = store.one(sql, (script_hash,)) or (None,)
    return int(total or 0)


_HISTORY_ASCENDING = """
    SELECT txid, height, tx_index FROM transactions WHERE txid IN (
        SELECT txid FROM outputs WHERE script_hash = ?
        UNION SELECT spent_by FROM outputs WHERE script_hash = ? AND spent_by IS NOT NULL
    ) AND height >= ? AND (height, tx_index) > (?, ?)
    ORDER BY height, tx_index LIMIT ?
"""
_HISTORY_DESCENDING = """
    SELECT txid, height, tx_index FROM transactions WHERE txid IN (
        SELECT txid FROM outputs WHERE script_hash = ?
        UNION SELECT spent_by FROM outputs WHERE script_hash = ? AND spent_by IS NOT NULL
    ) AND height >= ? AND (height, tx_index) < (?, ?)
    ORDER BY height DESC, tx_index DESC LIMIT ?
"""
_HISTORY_UNCONFIRMED = """
    SELECT txid FROM transactions WHERE txid IN (
        SELECT txid FROM outputs WHERE script_hash = ?
        UNION SELECT spent_by FROM outputs WHERE script_hash = ? AND spent_by IS NOT NULL
    ) AND height IS NULL ORDER BY position LIMIT ?
"""


def page_confirmed_history(
    store: Store,
    script_hash: str,
    limit: int,
    *,
    is_ascending: bool = False,
    from_height: int = 0,
    token: str = "",
) -> HistoryPage:
    """Return mined transactions that pay or spend the script, from a token on."""
    beginning = ("-1", "-1") if is_ascending else (str(1 << 60), "0")
    height, tx_index = map(int, _read_token(token, 2) or beginning)
    rows = store.rows(
        _HISTORY_ASCENDING if is_ascending else _HISTORY_DESCENDING,
        (script_hash, script_hash, from_height, height, tx_index, limit + 1),
    )
    entries = [(txid, height) for txid, height, _ in rows[:limit]]
    next_token = _write_token(rows[limit - 1][1:]) if len(rows) > limit else ""
    return HistoryPage(entries, next_token)


def list_unconfirmed_history(store: Store, script_hash: str, limit: int) -> list[str]:
    """Return txids of the mempool that pay or spend the script, in order of arrival."""
    rows = store.rows(_HISTORY_UNCONFIRMED, (script_hash, script_hash, limit))
    return [txid for (txid,) in rows]


def _write_token(parts: Sequence[object]) -> str:
    return "-".join(map(str, parts)).encode().hex()


def _read_token(token: str, count: int) -> tuple[str, ...] | None:
    """Return the parts of a token, None for an empty one; ValueError for one that is not ours."""
    if not token:
        return None
    parts = tuple(bytes.fromhex(token).decode("ascii").split("-"))
    numbers = (parts[0], parts[-1])
    is_ours = len(parts) == count and all(part.isdigit() and len(part) < 19 for part in numbers)
    if not is_ours or (count == 3 and not is_txid(parts[1])):
        raise ValueError("The token is not one of this service's.")
    return parts
