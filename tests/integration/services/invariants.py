"""What must hold whenever the system has come to rest, whatever happened before."""

from __future__ import annotations

from collections import Counter

from bsv.script.script import Script
from bsv.script.spend import Spend
from bsv.transaction import Transaction as SdkTransaction

from app.bitcoin.addresses import parse_address
from app.bitcoin.transactions import Transaction
from app.domain.custody import order_line
from app.domain.states import (
    TRANSACTION_ON_NETWORK,
    RecordStatus,
    TransactionStatus,
    UtxoStatus,
)
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction, TransactionKind
from app.models.utxo import Utxo
from app.services import custody_lines, invariants
from tests.integration.services.lab import Lab


def check_at_rest(lab: Lab) -> None:
    """Asserts promises P1 to P4 on a system where nothing is under way."""
    check_money(lab)
    check_records()
    check_custody()
    check_scripts(lab)


def check_confirmed_once(lab: Lab, records: list[AuthenticationRecord]) -> None:
    """Asserts that each of these records is confirmed by one transaction, and that all is well."""
    assert {lab.reload(r).status for r in records} == {RecordStatus.CONFIRMED.value}
    check_at_rest(lab)


def check_invariants() -> None:
    """What holds at any moment, under way or at rest."""
    assert invariants.check(pause_seconds=0).violations == ()


def check_money(lab: Lab) -> None:
    """P2 and P3: the chain has what we say that it has, and each output is where we say it is.

    By the service's own account, and by that of the chain, which it does not see.
    """
    check_invariants()
    on_chain = {txid: Transaction.from_hex(row["hex"]) for txid, row in _chain(lab).items()}
    ours = {t.txid for t in ChainTransaction.objects(status__in=list(TRANSACTION_ON_NETWORK))}
    assert ours <= on_chain.keys(), "a transaction counts as accepted that the chain has not"
    strangers = set(on_chain) - ours
    assert not [t for t in strangers if _is_envelope(on_chain[t])], "sent and not accounted for"

    assert not Utxo.objects(status=UtxoStatus.LOCKED.value).count(), "an output is still locked"
    pool = {
        u.outpoint: u.satoshis
        for u in Utxo.objects(status__in=[UtxoStatus.AVAILABLE, UtxoStatus.UNCONFIRMED])
    }
    assert pool == _unspent_of_pool(lab, on_chain), "the pool is not what the chain says we own"
    for utxo in Utxo.objects(status=UtxoStatus.SPENT.value):
        spender = on_chain.get(utxo.spent_txid)
        assert spender is not None, "spent by a transaction that the chain has not"
        assert utxo.outpoint in {str(i.outpoint) for i in spender.inputs}


def check_records() -> None:
    """P1 and P2: every record has ended, in one transaction or in none."""
    on_network = ChainTransaction.objects(status__in=list(TRANSACTION_ON_NETWORK))
    carriers = Counter(r.record_id for t in on_network for r in t.records)
    for record in AuthenticationRecord.objects:
        assert record.status in (RecordStatus.CONFIRMED, RecordStatus.FAILED), record.reason
        expected = 1 if record.status == RecordStatus.CONFIRMED else 0
        assert carriers[record.id] == expected, "on the chain not as often as it should be"
    assert not ChainTransaction.objects(status=TransactionStatus.SIGNED.value).count()
    assert not ChainTransaction.objects(status=TransactionStatus.COMMITTED.value).count()
    assert not ChainTransaction.objects(
        status__in=list(TRANSACTION_ON_NETWORK), settled_at=None
    ).count()


def check_custody() -> None:
    """P4: each patch's confirmed records form one line that ends at its state."""
    confirmed = AuthenticationRecord.objects(status=RecordStatus.CONFIRMED.value)
    uids = set(confirmed.scalar("uid_tag_id"))
    assert {state.uid_tag_id for state in PatchState.objects} == uids
    for uid in uids:
        stored = custody_lines.load(uid)
        line = order_line(stored.links(), stored.state.head)
        assert line[-1].content.owner == stored.state.owner


def check_scripts(lab: Lab) -> None:
    """Every transaction of ours is valid for an interpreter that is not ours."""
    transactions = _chain(lab)
    for stored in ChainTransaction.objects(status__in=list(TRANSACTION_ON_NETWORK)):
        tx = SdkTransaction.from_hex(transactions[stored.txid]["hex"])
        scripts = {u.outpoint: u.locking_script for u in Utxo.objects(spent_txid=stored.txid)}
        for index, spent in enumerate(stored.inputs):
            assert _sdk_accepts(tx, index, spent.satoshis, scripts[spent.outpoint])


def _sdk_accepts(tx: SdkTransaction, index: int, satoshis: int, locking_script: str) -> bool:
    spending = tx.inputs[index]
    return bool(
        Spend(
            {
                "sourceTXID": spending.source_txid,
                "sourceOutputIndex": spending.source_output_index,
                "sourceSatoshis": satoshis,
                "lockingScript": Script(bytes.fromhex(locking_script)),
                "transactionVersion": tx.version,
                "otherInputs": [each for n, each in enumerate(tx.inputs) if n != index],
                "inputIndex": index,
                "unlockingScript": spending.unlocking_script,
                "outputs": tx.outputs,
                "inputSequence": spending.sequence,
                "lockTime": tx.locktime,
            }
        ).validate()
    )


def _chain(lab: Lab) -> dict[str, dict[str, str]]:
    return lab.chain_transactions()


def _is_envelope(transaction: Transaction) -> bool:
    return any(b"PatchProof" in output.locking_script for output in transaction.outputs)


def _unspent_of_pool(lab: Lab, on_chain: dict[str, Transaction]) -> dict[str, int]:
    settings = lab.settings
    ours = parse_address(settings.utxo_funding_address, settings.woc_network).locking_script()
    spent = {str(i.outpoint) for t in on_chain.values() for i in t.inputs}
    return {
        f"{txid}:{vout}": output.satoshis
        for txid, transaction in on_chain.items()
        for vout, output in enumerate(transaction.outputs)
        if output.locking_script == ours and f"{txid}:{vout}" not in spent
    }


def anchors_of(lab: Lab, uid: str) -> list[str]:
    """The transactions on the chain that carry a digest of one of this patch's records."""
    digests = {
        anchored.digest.encode()
        for t in ChainTransaction.objects(kind__ne=TransactionKind.SPLIT.value)
        for anchored in t.records
        if anchored.uid_tag_id == uid
    }
    return [
        txid
        for txid, row in _chain(lab).items()
        if any(digest in bytes.fromhex(row["hex"]) for digest in digests)
    ]
