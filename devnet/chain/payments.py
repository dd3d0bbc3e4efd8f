"""Signing of payments that one key makes."""

from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import p2pkh_locking_script, p2pkh_unlocking_script
from app.bitcoin.sighash import sighashes
from app.bitcoin.transactions import Transaction


def locking_script_of(key: PrivateKey) -> bytes:
    """Return the script that pays a key."""
    return p2pkh_locking_script(key.public_key.hash160())


def sign(tx: Transaction, key: PrivateKey) -> Transaction:
    """Return the transaction with every input unlocked by one key; spent outputs must be known."""
    public_key = key.public_key.to_bytes()
    return tx.with_unlocking_scripts(
        [p2pkh_unlocking_script(key.sign(digest), public_key) for digest in sighashes(tx)]
    )
