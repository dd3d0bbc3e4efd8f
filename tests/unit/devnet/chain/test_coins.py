"""Pages of outputs and of history."""

import pytest

from app.bitcoin.addresses import parse_address
from app.bitcoin.scripts import script_hash
from devnet.chain import coins
from devnet.chain.faucet import NETWORK

ADDRESS = parse_address("mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8", NETWORK)
SCRIPT = script_hash(ADDRESS.locking_script())


@pytest.fixture
def paid(chain, faucet):
    """Return the txids that paid the address, block by block."""
    faucet.prepare()
    txids = []
    for count in (3, 4, 5):
        txids.append(faucet.fund(ADDRESS, 100, count)[0])
        chain.mine(1)
    return txids


@pytest.mark.parametrize("limit", [1, 2, 5, 12, 13])
def test_pages_of_any_size_hold_every_output_once(store, paid, limit):
    seen, token = [], ""
    while True:
        page = coins.page_confirmed_unspent(store, SCRIPT, limit, token)
        assert len(page.outputs) <= limit
        seen += [(output.txid, output.vout) for output in page.outputs]
        token = page.next_token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 12
    assert [txid for txid, _ in seen] == [paid[0]] * 3 + [paid[1]] * 4 + [paid[2]] * 5


@pytest.mark.parametrize("is_ascending", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_of_history_hold_every_transaction_once(store, paid, limit, is_ascending):
    seen, token = [], ""
    while True:
        page = coins.page_confirmed_history(
            store, SCRIPT, limit, is_ascending=is_ascending, token=token
        )
        seen += [txid for txid, _ in page.entries]
        token = page.next_token
        if not token:
            break
    assert seen == (paid if is_ascending else paid[::-1])


def test_balances(store, faucet, paid):
    assert coins.confirmed_balance(store, SCRIPT) == 1200
    assert coins.unconfirmed_balance(store, SCRIPT) == 0
    faucet.fund(ADDRESS, 77)
    assert coins.unconfirmed_balance(store, SCRIPT) == 77
    assert coins.confirmed_balance(store, "ab" * 32) == 0


def test_lists_use_their_index(store):
    plans = [
        store.rows(
            "EXPLAIN QUERY PLAN SELECT * FROM unspent WHERE script_hash = ?"
            " AND height IS NOT NULL AND (height, txid, vout) > (?, ?, ?)"
            " ORDER BY height, txid, vout LIMIT ?",
            ("x", 1, "", 0, 10),
        ),
        store.rows("EXPLAIN QUERY PLAN " + coins._HISTORY_DESCENDING, ("x", "x", 0, 1, 1, 10)),
    ]
    for plan in plans:
        assert not any(row[3].startswith("SCAN") for row in plan), plan
