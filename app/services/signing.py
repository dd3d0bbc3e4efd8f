"""Builds transactions from locked outputs and has all their inputs signed in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bson import ObjectId

from app import extensions
from app.bitcoin.addresses import Address, address_from_hash160, parse_address
from app.bitcoin.interpreter import verify_input_scripts
from app.bitcoin.scripts import find_p2pkh_hash160, p2pkh_unlocking_script
from app.bitcoin.sighash import sighashes
from app.bitcoin.transactions import Transaction, TxInput, TxOutput
from app.clients.kms import KmsSignature, SignRequest
from app.domain.fees import with_change
from app.errors import SignerUnavailableError
from app.models.transaction import (
    AnchoredField,
    ChainTransaction,
    InputField,
    OutputField,
    TransactionKind,
    VersionField,
)
from app.models.utxo import Utxo


class WrongKeyError(SignerUnavailableError):
    """The signer's key does not unlock the coins of these transactions."""

    def __init__(self, message: str, transaction_ids: Sequence[ObjectId]) -> None:
        super().__init__(message)
        self.transaction_ids = tuple(transaction_ids)


@dataclass(frozen=True)
class Draft:
    """What a transaction is to be: its outputs, the locked coins that pay, the records it carries.

    Outputs that pay one of our addresses, change among them, enter the pool when it is settled.
    """

    transaction_id: ObjectId
    kind: TransactionKind
    coins: Sequence[Utxo]
    outputs: Sequence[TxOutput]
    records: Sequence[AnchoredField] = ()
    request_ids: Sequence[str] = ()


def sign_all(drafts: Sequence[Draft], *, satoshis_per_kilobyte: int) -> list[ChainTransaction]:
    """Builds and signs one transaction a draft; nothing is stored or sent yet.

    Every signature is checked against its key, every key against the output that it unlocks, and
    every input by the script interpreter.

    Raises:
        WrongKeyError: a key of the signer does not unlock the output asked for.
        ServiceUnavailableError, KmsRefusedError: the signer did not sign; nothing is used.
        InsufficientFundsError: the coins don't pay for the outputs and the fee.
    """
    change = _change_address()
    unsigned = [_build(draft, change, satoshis_per_kilobyte) for draft in drafts]
    signed = _sign(
        [
            _Unsigned(draft.transaction_id, draft.coins, transaction)
            for draft, transaction in zip(drafts, unsigned, strict=True)
        ]
    )
    return [
        _document(draft, transaction) for draft, transaction in zip(drafts, signed, strict=True)
    ]


def sign_versions(wanted: Mapping[ObjectId, Transaction]) -> dict[ObjectId, VersionField]:
    """Signs other bytes for transactions that are stored (their id -> what they are to be).

    They spend the same outputs, which stay locked. Raises as `sign_all` does.
    """
    coins = Utxo.find_all([str(i.outpoint) for t in wanted.values() for i in t.inputs])
    signed = _sign(
        [
            _Unsigned(transaction_id, [coins[str(i.outpoint)] for i in each.inputs], each)
            for transaction_id, each in wanted.items()
        ]
    )
    return {
        transaction_id: VersionField(
            txid=transaction.txid,
            raw_tx=transaction.to_bytes(),
            outputs=outputs_of_ours(transaction),
            fee_satoshis=transaction.fee_satoshis,
            size_bytes=transaction.size,
        )
        for transaction_id, transaction in zip(wanted, signed, strict=True)
    }


@dataclass(frozen=True)
class _Unsigned:
    transaction_id: ObjectId
    coins: Sequence[Utxo]
    transaction: Transaction


def _sign(unsigned: Sequence[_Unsigned]) -> list[Transaction]:
    requests = [
        SignRequest(coin.key_identifier, digest)
        for each in unsigned
        for coin, digest in zip(each.coins, sighashes(each.transaction), strict=True)
    ]
    signatures = iter(extensions.get().kms.sign(requests))
    unlocked = [[(coin, next(signatures)) for coin in each.coins] for each in unsigned]
    _check_keys(unsigned, unlocked)
    signed = []
    for each, pairs in zip(unsigned, unlocked, strict=True):
        scripts = [_unlocking_script(signature) for _, signature in pairs]
        complete = each.transaction.with_unlocking_scripts(scripts)
        verify_input_scripts(complete)
        signed.append(complete)
    return signed


def _build(draft: Draft, change: Address, satoshis_per_kilobyte: int) -> Transaction:
    inputs = tuple(TxInput(coin.point, coin.output) for coin in draft.coins)
    return with_change(
        Transaction(inputs, tuple(draft.outputs)), change.hash160, satoshis_per_kilobyte
    )


def _check_keys(
    unsigned: Sequence[_Unsigned], unlocked: Sequence[Sequence[tuple[Utxo, KmsSignature]]]
) -> None:
    wrong = {
        each.transaction_id: coin
        for each, pairs in zip(unsigned, unlocked, strict=True)
        for coin, signature in pairs
        if signature.public_key.hash160() != find_p2pkh_hash160(bytes.fromhex(coin.locking_script))
    }
    if wrong:
        points = ", ".join(f"{c.outpoint} ({c.key_identifier})" for c in wrong.values())
        raise WrongKeyError(f"the signer's key does not unlock {points}", list(wrong))


def _unlocking_script(signature: KmsSignature) -> bytes:
    return p2pkh_unlocking_script(signature.signature_der, signature.public_key.to_bytes())


def _document(draft: Draft, transaction: Transaction) -> ChainTransaction:
    for record in draft.records:
        # A record with a transaction of its own is named by it; in a batch by its digest.
        is_alone = draft.kind is not TransactionKind.BATCH
        record.head = transaction.txid if is_alone else record.digest
    return ChainTransaction(
        id=draft.transaction_id,
        kind=draft.kind.value,
        txid=transaction.txid,
        raw_tx=transaction.to_bytes(),
        inputs=[_input(coin) for coin in draft.coins],
        outputs=outputs_of_ours(transaction),
        records=list(draft.records),
        fee_satoshis=transaction.fee_satoshis,
        size_bytes=transaction.size,
        request_ids=list(draft.request_ids),
    )


def _input(coin: Utxo) -> InputField:
    return InputField(
        outpoint=coin.outpoint, satoshis=coin.satoshis, locking_script=coin.locking_script
    )


def outputs_of_ours(transaction: Transaction) -> list[OutputField]:
    settings = extensions.get().settings
    funding = parse_address(settings.utxo_funding_address, settings.woc_network)
    ours = []
    for vout, output in enumerate(transaction.outputs):
        hash160 = find_p2pkh_hash160(output.locking_script)
        if hash160 == funding.hash160:
            ours.append(
                OutputField(
                    vout=vout,
                    satoshis=output.satoshis,
                    locking_script=output.locking_script.hex(),
                    key_identifier=settings.utxo_funding_key_identifier,
                    address=str(address_from_hash160(hash160, settings.woc_network)),
                )
            )
    return ours


def _change_address() -> Address:
    settings = extensions.get().settings
    return parse_address(settings.utxo_funding_address, settings.woc_network)
