"""Adds one output to the pool by hand, after the chain has confirmed what is said about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from app import extensions
from app.bitcoin.addresses import Address, address_from_hash160
from app.bitcoin.errors import InvalidTransactionError
from app.bitcoin.transactions import Outpoint, Transaction, TxOutput
from app.clients.chain_types import OUTPUT_UNKNOWN, Spend
from app.errors import ConflictError, InvalidInputError, NotFoundError
from app.models.utxo import NewUtxo, Utxo
from app.services import knobs
from app.services.maintenance import exclusive

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """What the operator says about an output; address and script only where they were given."""

    txid: str
    vout: int
    satoshis: int
    key_identifier: str
    address: str | None = None
    locking_script_hex: str | None = None


@dataclass(frozen=True)
class Addition:
    """What the pool knows of the output now; `is_new` is False where it knew it before."""

    outpoint: str
    satoshis: int
    address: str
    key_identifier: str
    status: str
    confirmations: int
    is_new: bool


def check(claim: Claim) -> tuple[NewUtxo, int]:
    """Asks chain and signer about an output; answers it and its confirmations, writes nothing.

    It waits for its confirmations like any other.

    Raises:
        InvalidInputError: amount, address, script or key are not those of the output.
        ConflictError: it is spent.
        NotFoundError: the chain does not know it.
        ServiceUnavailableError: chain service or signer are away.
    """
    outpoint = _outpoint(claim)
    address = _address_of_key(claim.key_identifier)
    output = _find_output(outpoint)
    _compare(claim, output, address)
    confirmations = _confirmations(outpoint.txid)
    return (
        NewUtxo(
            outpoint=outpoint,
            satoshis=output.satoshis,
            locking_script=output.locking_script,
            key_identifier=claim.key_identifier,
            address=str(address),
            is_spendable=confirmations >= knobs.load().min_confirmations,
        ),
        confirmations,
    )


def add(claim: Claim) -> Addition:
    """Adds the output; one that is known keeps its status.

    Raises:
        LockHeldError: somebody else maintains the pool.
        InvalidInputError, ConflictError, NotFoundError, ServiceUnavailableError: see `check`.
    """
    with exclusive() as guard:
        checked, confirmations = check(claim)
        guard.check()
        is_new = bool(Utxo.add_all([checked]))
    point = str(checked.outpoint)
    row = Utxo.find_all([point])[point]
    logger.info(
        "output added by hand",
        extra={"event": "pool.added", "outpoint": point, "is_new": is_new},
    )
    return Addition(
        outpoint=point,
        satoshis=row.satoshis,
        address=row.address,
        key_identifier=row.key_identifier,
        status=row.status,
        confirmations=confirmations,
        is_new=is_new,
    )


def _outpoint(claim: Claim) -> Outpoint:
    try:
        return Outpoint(claim.txid.lower(), claim.vout)
    except InvalidTransactionError as error:
        raise InvalidInputError.for_field("txid", str(error)) from error


def _address_of_key(key_identifier: str) -> Address:
    current = extensions.get()
    public_key = current.kms.get_public_key(key_identifier)
    if public_key is None:
        raise InvalidInputError.for_field(
            "key_identifier", f"the signer has no key named {key_identifier!r}"
        )
    return address_from_hash160(public_key.hash160(), current.settings.woc_network)


def _find_output(outpoint: Outpoint) -> TxOutput:
    """The output as its transaction has it, whose bytes hash to its txid."""
    chain = extensions.get().chain
    # The network first: a server of another one knows nothing of ours, and may know too much.
    chain.get_chain_info()
    spend = chain.find_spend(outpoint.txid, outpoint.vout)
    if isinstance(spend, Spend):
        raise ConflictError(f"{outpoint} is spent by {spend.txid}")
    raw_tx_hex = None if spend is OUTPUT_UNKNOWN else chain.find_raw_transaction(outpoint.txid)
    if raw_tx_hex is None:
        raise NotFoundError(f"the chain does not know {outpoint}")
    outputs = Transaction.from_hex(raw_tx_hex).outputs
    if outpoint.vout >= len(outputs):
        raise NotFoundError(f"the transaction has only {len(outputs)} outputs")
    return outputs[outpoint.vout]


def _compare(claim: Claim, output: TxOutput, address: Address) -> None:
    script = output.locking_script
    if output.satoshis != claim.satoshis:
        raise InvalidInputError.for_field(
            "satoshis", f"the output holds {output.satoshis}, not {claim.satoshis}"
        )
    if claim.address is not None and claim.address != str(address):
        raise InvalidInputError.for_field(
            "address", f"the key {claim.key_identifier!r} has the address {address}"
        )
    if claim.locking_script_hex is not None and claim.locking_script_hex.lower() != script.hex():
        raise InvalidInputError.for_field("script", f"the output's script is {script.hex()}")
    if script != address.locking_script():
        raise InvalidInputError.for_field(
            "key_identifier", f"the key {claim.key_identifier!r} does not unlock this output"
        )


def _confirmations(txid: str) -> int:
    status = extensions.get().chain.list_transaction_statuses([txid]).get(txid)
    return 0 if status is None else status.confirmations
