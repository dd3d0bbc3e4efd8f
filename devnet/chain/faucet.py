"""The miner's purse: where every block's reward goes and where laptops get their coins."""

import os
from dataclasses import replace
from pathlib import Path

from app.bitcoin.addresses import Address, Network
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import script_hash
from app.bitcoin.transactions import (
    MAX_SATOSHIS,
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
    signed_size,
)
from devnet.chain.blocks import COINBASE_MATURITY
from devnet.chain.chainstate import Chain, ChainRequestError
from devnet.chain.payments import locking_script_of, sign
from devnet.chain.rows import StoredOutput
from devnet.chain.store import stored_output

NETWORK = Network.REGTEST
MAX_OUTPUTS = 10_000
_MATURE_COINS_AT_START = 10
_MAX_INPUTS = 500


def load_key(path: Path) -> PrivateKey:
    """Return the faucet's key, made at the first start and readable by its owner alone."""
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(PrivateKey.generate().to_wif(NETWORK) + "\n")
        draft.replace(path)
    return PrivateKey.from_wif(path.read_text().strip())


class Faucet:
    """Pays anyone from mature block rewards and its own change."""

    def __init__(self, chain: Chain, key: PrivateKey) -> None:
        self._chain = chain
        self._key = key
        self._script = locking_script_of(key)

    @property
    def address(self) -> str:
        """Where the block rewards go."""
        return self._key.public_key.address(NETWORK)

    def prepare(self) -> None:
        """Mine until there are mature coins."""
        missing = COINBASE_MATURITY + _MATURE_COINS_AT_START - self._chain.tip.height
        self._chain.mine(max(0, missing))

    def fund(self, address: Address, satoshis: int, outputs: int = 1) -> tuple[str, list[int]]:
        """Pay `outputs` outputs of `satoshis` to an address in one transaction.

        Returns its txid and the indexes of the outputs. It waits in the mempool for a block.
        """
        if not 1 <= satoshis <= MAX_SATOSHIS:
            raise ChainRequestError(f"satoshis is a number from 1 to {MAX_SATOSHIS}.")
        if not 1 <= outputs <= MAX_OUTPUTS:
            raise ChainRequestError(f"outputs is a number from 1 to {MAX_OUTPUTS}.")
        paid = (TxOutput(satoshis, address.locking_script()),) * outputs
        with self._chain.store.transaction():
            txid = self._chain.mempool.submit(self._build(paid).to_bytes())
        return txid, list(range(outputs))

    def _build(self, paid: tuple[TxOutput, ...]) -> Transaction:
        needed = sum(output.satoshis for output in paid)
        inputs: list[TxInput] = []
        for coin in self._list_coins():
            spent = TxOutput(coin.satoshis, coin.script)
            inputs.append(TxInput(Outpoint(coin.txid, coin.vout), spent))
            draft = Transaction(tuple(inputs), (*paid, TxOutput(0, self._script)))
            change = draft.fee_satoshis - self._fee(draft)
            if change > 0:
                outputs = (*paid, replace(draft.outputs[-1], satoshis=change))
                return sign(replace(draft, outputs=outputs), self._key)
        raise ChainRequestError(
            f"The faucet lacks mature coins for {needed} satoshis in one payment. "
            "Ask for less, or mine blocks: each brings 50 coins that mature after 100 more."
        )

    def _list_coins(self) -> list[StoredOutput]:
        """Return unspent coins, the largest first, that the next block may spend."""
        tip_height = self._chain.tip.height
        rows = self._chain.store.rows(
            "SELECT * FROM outputs WHERE script_hash = ? AND spent_height IS NULL"
            " AND spent_by IS NULL AND (is_coinbase = 0 OR height <= ?)"
            " ORDER BY satoshis DESC LIMIT ?",
            (script_hash(self._script), tip_height + 1 - COINBASE_MATURITY, _MAX_INPUTS),
        )
        return [stored_output(row) for row in rows]

    def _fee(self, draft: Transaction) -> int:
        rate = self._chain.mempool.minimum_satoshis_per_kilobyte
        return max(1, -(-signed_size(draft) * rate // 1000))
