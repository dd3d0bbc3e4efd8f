"""The chain without its wires."""

import sqlite3
import stat

import pytest

from app.bitcoin.addresses import parse_address
from devnet.chain.chainstate import Chain, ChainRequestError
from devnet.chain.faucet import NETWORK, Faucet, load_key
from devnet.chain.payments import locking_script_of
from devnet.chain.store import Store, StoreError

ADDRESS = parse_address("mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8", NETWORK)


def test_faucet_waits_for_maturity(chain, faucet):
    chain.mine(99)
    with pytest.raises(ChainRequestError, match="mature"):
        faucet.fund(ADDRESS, 1000)
    chain.mine(1)
    txid, vouts = faucet.fund(ADDRESS, 1000, 3)
    assert vouts == [0, 1, 2]
    assert [each.txid for each in chain.store.list_mempool()] == [txid]


def test_faucet_gathers_coins_for_a_large_payment(chain, faucet):
    faucet.prepare()
    txid, _ = faucet.fund(ADDRESS, 120 * 10**8)
    stored = chain.store.find_transaction(txid)
    assert stored is not None
    assert stored.fee >= len(stored.raw) * 50 // 1000
    with pytest.raises(ChainRequestError, match="mature"):
        faucet.fund(ADDRESS, 1000 * 10**8)


def test_satoshis_are_neither_made_nor_lost(chain, faucet):
    faucet.prepare()
    for _ in range(5):
        faucet.fund(ADDRESS, 1234, 7)
        chain.mine(1)
    chain.reorganise(3)
    chain.mine(2)
    (total,) = chain.store.one("SELECT sum(satoshis) FROM unspent") or (0,)
    assert total == chain.tip.height * 50 * 10**8


def test_spends_and_heights_of_outputs_agree_with_their_transactions(chain, faucet):
    faucet.prepare()
    faucet.fund(ADDRESS, 1234)
    chain.mine(1)
    faucet.fund(ADDRESS, 1234)
    chain.mine(1)
    faucet.fund(ADDRESS, 1234)
    chain.reorganise(1)
    wrong = chain.store.rows(
        "SELECT outputs.txid FROM outputs JOIN transactions USING (txid)"
        " LEFT JOIN transactions AS spender ON spender.txid = spent_by"
        " WHERE outputs.height IS NOT transactions.height"
        " OR spent_height IS NOT spender.height"
        " OR (spent_by IS NOT NULL AND spender.txid IS NULL)"
    )
    assert wrong == []
    orphans = chain.store.rows(
        "SELECT txid FROM outputs WHERE txid NOT IN (SELECT txid FROM transactions)"
    )
    assert orphans == []


def test_failed_change_leaves_nothing(chain, faucet, monkeypatch):
    faucet.prepare()
    before = chain.tip
    faucet.fund(ADDRESS, 1000)

    def fail():
        raise RuntimeError("power")

    monkeypatch.setattr(chain.mempool, "release_final", fail)
    with pytest.raises(RuntimeError):
        chain.mine(1)
    assert chain.tip == before
    assert chain.store.mempool_size() == 1
    monkeypatch.undo()
    assert chain.mine(1)[0].tx_count == 2


def test_key_is_made_once_and_is_the_owners(store, tmp_path):
    path = tmp_path / "faucet.wif"
    first = load_key(path)
    assert load_key(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    chain = Chain(store, locking_script_of(first), 50)
    assert first.to_wif(NETWORK) not in repr(Faucet(chain, first))


def test_key_is_made_after_a_start_that_died(tmp_path):
    (tmp_path / "faucet.new").write_text("half")
    assert load_key(tmp_path / "faucet.wif")
    assert not (tmp_path / "faucet.new").exists()


def test_chain_of_another_version_is_refused(tmp_path):
    path = tmp_path / "chain.sqlite3"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="Delete the directory"):
        Store(path)
