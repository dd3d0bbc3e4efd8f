"""One key with coins from the devnet's faucet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.bitcoin.addresses import Network, parse_address
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import p2pkh_unlocking_script
from app.bitcoin.sighash import sighashes
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.clients.broadcasting import RawTransaction

if TYPE_CHECKING:
    from tests.integration.clients.conftest import ChainControl

COIN = 10_000
FEE = 500


class Wallet:
    """One key with coins from the faucet."""

    def __init__(self, chain: "ChainControl") -> None:
        self._chain = chain
        self._key = PrivateKey.generate()
        self.address = self._key.public_key.address(Network.REGTEST)
        self._script = parse_address(self.address, Network.REGTEST).locking_script()

    def fund(self, outputs: int = 1, satoshis: int = COIN) -> list[Outpoint]:
        """Return fresh outputs in the mempool."""
        paid = self._chain.fund(self.address, satoshis, outputs)
        return [Outpoint(paid["txid"], vout) for vout in paid["vouts"]]

    def spend(
        self,
        outpoints: Sequence[Outpoint],
        fee: int = FEE,
        change: int = 1,
        satoshis: int = COIN,
    ) -> Transaction:
        """Return a signed transaction that pays what it spends back in `change` outputs."""
        inputs = tuple(TxInput(o, TxOutput(satoshis, self._script)) for o in outpoints)
        value = (satoshis * len(inputs) - fee) // change
        unsigned = Transaction(inputs, (TxOutput(value, self._script),) * change)
        public_key = self._key.public_key.to_bytes()
        return unsigned.with_unlocking_scripts(
            [
                p2pkh_unlocking_script(self._key.sign(digest), public_key)
                for digest in sighashes(unsigned)
            ]
        )


def raw(transaction: Transaction, *, is_extended: bool = True) -> RawTransaction:
    """Return what a broadcaster sends."""
    extended_hex = transaction.to_extended_hex() if is_extended else None
    return RawTransaction(transaction.txid, transaction.to_hex(), extended_hex)
