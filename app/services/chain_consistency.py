"""Whether the pool and the chain agree, output by output, about what we own.

Transactions on their way are accounted for exactly: the chain is asked whether it knows them, so
it does not matter whether a process died before or after the network took one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from app import extensions
from app.clients.outcomes import UnexpectedAnswerError
from app.domain.states import TRANSACTION_ON_NETWORK, UTXO_GONE, TransactionStatus
from app.models.cursors import Row, stream
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services.consistency import Problem

_UNSENT = (TransactionStatus.SIGNED.value, TransactionStatus.COMMITTED.value)
# No difference, only news: the detail of what the next sync adds.
NOT_SYNCED = "outputs on the chain that are not in the pool yet"
_FIELDS = ("txid", "status", "inputs", "outputs")


@dataclass
class _Books:
    """Satoshis by outpoint: what the pool says that the chain should list, and what it lists."""

    expected: dict[str, int] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> set[str]:
        return self.expected.keys() - self.listed.keys()

    @property
    def surplus(self) -> set[str]:
        return self.listed.keys() - self.expected.keys()

    @property
    def unequal(self) -> set[str]:
        shared = self.expected.keys() & self.listed.keys()
        return {point for point in shared if self.expected[point] != self.listed[point]}


def find_differences() -> Iterator[Problem]:
    """Yields the outputs about which pool and chain differ, and what is NOT_SYNCED.

    Raises:
        ServiceUnavailableError: the chain service gave no complete answer; nothing is known.
    """
    books = _Books(expected=_open_coins())
    under_way = list(_list_transactions({"status": {"$in": list(_UNSENT)}}))
    unsettled = list(
        _list_transactions({"status": TransactionStatus.ACCEPTED.value, "settled_at": None})
    )
    books.listed = _list_chain(addresses())
    _take_in(books, _known(under_way, is_known=True))
    _take_in(books, unsettled)
    if books.missing or books.surplus:
        _take_back(books, _known(_list_suspects(books), is_known=False))
    yield from (("the pool has it, the chain does not list it", p) for p in books.missing)
    yield from _explain_surplus(books.surplus)
    yield from (("pool and chain disagree about its satoshis", point) for point in books.unequal)


def _explain_surplus(points: set[str]) -> Iterator[Problem]:
    """What the chain lists and we don't expect; what strangers paid us is merely not synced yet."""
    rows = Utxo.find_all(sorted(points))
    ours = ChainTransaction.list_known_txids(sorted({p.partition(":")[0] for p in points}))
    for point in points:
        if point in rows:
            yield f"the pool says {rows[point].status}, the chain unspent", point
        elif point.partition(":")[0] in ours:
            yield "a transaction of ours made it, and the pool does not have it", point
        else:
            yield NOT_SYNCED, point


def _open_coins() -> dict[str, int]:
    """What nothing has spent for certain; locked outputs are unspent until their spender is out."""
    condition = {"status": {"$nin": [status.value for status in UTXO_GONE]}}
    return {row["_id"]: row["satoshis"] for row in stream(Utxo, condition, ("satoshis",))}


def addresses() -> list[str]:
    """The funding address and every other that we hold something at."""
    held_at = Utxo.objects(status__nin=list(UTXO_GONE)).distinct("address")
    return sorted({extensions.get().settings.utxo_funding_address, *held_at})


def _list_chain(addresses: Iterable[str]) -> dict[str, int]:
    chain = extensions.get().chain
    # The network first: a server of another one lists nothing of ours.
    chain.get_chain_info()
    return {
        f"{output.txid}:{output.vout}": output.satoshis
        for address in addresses
        for output in chain.list_unspent(address)
        if not output.is_spent_in_mempool
    }


def _list_transactions(condition: Mapping[str, object]) -> Iterator[Row]:
    return stream(ChainTransaction, condition, _FIELDS)


def _known(transactions: Sequence[Row], *, is_known: bool) -> list[Row]:
    """Those that the chain knows, or those that it does not."""
    if not transactions:
        return []
    chain = extensions.get().chain
    txids = [row["txid"] for row in transactions]
    statuses = chain.list_transaction_statuses(txids)
    if len(statuses) < len(set(txids)):
        raise UnexpectedAnswerError(chain.name, "it does not say where each transaction is")
    return [row for row in transactions if (statuses[row["txid"]].kind != "unknown") is is_known]


def _take_in(books: _Books, transactions: Sequence[Row]) -> None:
    """The network has these and our books may not know it yet."""
    for row in transactions:
        books.expected.update(_outputs(row))
    for row in transactions:
        for each in row["inputs"]:
            books.expected.pop(each["outpoint"], None)


def _take_back(books: _Books, transactions: Sequence[Row]) -> None:
    """Our books have these and the network has dropped them: they are sent again."""
    ours = Utxo.find_all([each["outpoint"] for row in transactions for each in row["inputs"]])
    books.expected.update({point: row.satoshis for point, row in ours.items()})
    for row in transactions:
        for point in _outputs(row):
            books.expected.pop(point, None)


def _list_suspects(books: _Books) -> list[Row]:
    """Accepted transactions that made what is missing or spent what is too much."""
    made_by = {point.partition(":")[0] for point in books.missing}
    spent_by = {row.spent_txid for row in Utxo.find_all(sorted(books.surplus)).values()}
    return list(
        _list_transactions(
            {
                "txid": {"$in": sorted(made_by | spent_by - {None})},
                "status": {"$in": [status.value for status in TRANSACTION_ON_NETWORK]},
            }
        )
    )


def _outputs(row: Row) -> dict[str, int]:
    return {f"{row['txid']}:{each['vout']}": each["satoshis"] for each in row["outputs"]}
