"""WhatsOnChain's JSON of transactions and block headers."""

from typing import Any

from app.bitcoin.addresses import address_from_hash160
from app.bitcoin.headers import target_of
from app.bitcoin.scripts import find_p2pkh_hash160
from app.bitcoin.transactions import Transaction, TxInput, TxOutput
from devnet.chain.blocks import median_time_past
from devnet.chain.faucet import NETWORK
from devnet.chain.rows import StoredBlock
from devnet.chain.store import Store
from devnet.chain.woc.disassembly import disassemble

MAX_SCRIPT_HEX = 100_000
_SATOSHIS_PER_COIN = 100_000_000
_EASIEST_TARGET = target_of(0x1D00FFFF)


def coins_of(satoshis: int) -> float:
    """Return an amount in BSV, as a float: that is what the wire carries."""
    return satoshis / _SATOSHIS_PER_COIN


def transaction_json(tx: Transaction, is_coinbase: bool) -> dict[str, Any]:
    """Return a decoded transaction without the keys that only a mined one has."""
    return {
        "txid": tx.txid,
        "hash": tx.txid,
        "version": tx.version,
        "size": tx.size,
        "locktime": tx.locktime,
        "vin": [_input_json(tx_input, is_coinbase) for tx_input in tx.inputs],
        "vout": [_output_json(output, vout) for vout, output in enumerate(tx.outputs)],
    }


def _input_json(tx_input: TxInput, is_coinbase: bool) -> dict[str, Any]:
    script = tx_input.unlocking_script
    if is_coinbase:
        return {
            "coinbase": script.hex(),
            "txid": "",
            "vout": 0,
            "scriptSig": {"asm": "", "hex": ""},
            "sequence": tx_input.sequence,
        }
    return {
        "coinbase": "",
        "txid": tx_input.outpoint.txid,
        "vout": tx_input.outpoint.vout,
        "scriptSig": {"asm": disassemble(script), "hex": script.hex()},
        "sequence": tx_input.sequence,
    }


def _output_json(output: TxOutput, vout: int) -> dict[str, Any]:
    script = output.locking_script
    public_key_hash = find_p2pkh_hash160(script)
    is_truncated = len(script) * 2 > MAX_SCRIPT_HEX
    shown = script[: MAX_SCRIPT_HEX // 2]
    described: dict[str, Any] = {
        "asm": disassemble(shown),
        "hex": shown.hex(),
        "type": _type_of(script),
    }
    if public_key_hash is not None:
        described |= {
            "reqSigs": 1,
            "addresses": [address_from_hash160(public_key_hash, NETWORK).to_string()],
        }
    described["isTruncated"] = is_truncated
    return {"value": coins_of(output.satoshis), "n": vout, "scriptPubKey": described}


def _type_of(script: bytes) -> str:
    if find_p2pkh_hash160(script) is not None:
        return "pubkeyhash"
    return "nulldata" if script[:2] == b"\x00\x6a" or script[:1] == b"\x6a" else "nonstandard"


def header_json(store: Store, block: StoredBlock, tip_height: int) -> dict[str, Any]:
    """Return a block header; `bits` is hex, `nTx` is 0 and `num_tx` is the real count."""
    header = block.header
    shown: dict[str, Any] = {
        "hash": block.block_hash,
        "confirmations": tip_height - block.height + 1 if block.is_active else -1,
        "size": block.size,
        "height": block.height,
        "version": header.version,
        "versionHex": f"{header.version & 0xFFFFFFFF:08x}",
        "merkleroot": header.merkle_root,
        "time": header.timestamp,
        "mediantime": median_time_of(store, block),
        "nonce": header.nonce,
        "bits": f"{header.bits:08x}",
        "difficulty": difficulty_of(header.bits),
        "chainwork": f"{block.chainwork:064x}",
    }
    if block.height > 0:
        shown["previousblockhash"] = header.previous_block_hash
    following = store.find_block_at(block.height + 1)
    if block.is_active and following is not None:
        shown["nextblockhash"] = following.block_hash
    return shown | {"nTx": 0, "num_tx": block.tx_count}


def median_time_of(store: Store, block: StoredBlock) -> int:
    """Return the median time of a block and the ten before it."""
    blocks = [block]
    while len(blocks) < 11:
        before = store.find_block(blocks[-1].header.previous_block_hash)
        if before is None:
            break
        blocks.append(before)
    return median_time_past(blocks)


def difficulty_of(bits: int) -> float:
    """Return how much harder than the easiest main network target a target is."""
    return _EASIEST_TARGET / target_of(bits)
