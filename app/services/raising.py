"""Gives transactions that were refused for their fee other bytes, with a higher one.

They spend the same outputs, so that at most one of the versions can be mined: the cheap one is
valid, and whoever asks for less may mine it yet. What was reserved stays held throughout.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from app import extensions
from app.bitcoin.transactions import Transaction, TxOutput
from app.clients.outcomes import ClientError
from app.domain.fees import raised_rate, with_higher_fee
from app.errors import SignerUnavailableError
from app.logs import chain_event
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import knobs
from app.services.signing import sign_versions

logger = logging.getLogger(__name__)


def raise_fees(
    refused: Sequence[ChainTransaction], reasons: Mapping[str, str]
) -> list[ChainTransaction]:
    """Has transactions pay half as much again, or today's rate; answers them as they are now.

    Those that are left out stay as they are: at the cap, or without an output of ours that is large
    enough to pay, or the signer does not sign now. `reasons` are the network's words, by txid.
    """
    today = knobs.load().satoshis_per_kilobyte if refused else 0
    wanted = {
        transaction.id: raised
        for transaction in refused
        if (raised := _raise(transaction, today)) is not None
    }
    if not wanted:
        return []
    try:
        versions = sign_versions(wanted)
    except (ClientError, SignerUnavailableError) as error:
        logger.warning("no higher fee: %s", error, extra={"event": "fee.not_raised"})
        return []
    changed = []
    for transaction in refused:
        if transaction.id in versions:
            now = ChainTransaction.replace_bytes(
                transaction, versions[transaction.id], reasons[transaction.txid]
            )
            if now is not None:
                _log(transaction, now)
                changed.append(now)
    AuthenticationRecord.rename_each(changed)
    return changed


def _raise(transaction: ChainTransaction, today: int) -> Transaction | None:
    cap = extensions.get().settings.fee_per_kb_max
    paid = Transaction.from_bytes(bytes(transaction.raw_tx))
    spent = [TxOutput(i.satoshis, bytes.fromhex(i.locking_script)) for i in transaction.inputs]
    rate = raised_rate(transaction.fee_satoshis, transaction.size_bytes, cap)
    return with_higher_fee(
        paid.with_unlocking_scripts([b""] * len(spent)).with_spent_outputs(spent),
        [output.vout for output in transaction.outputs],
        min(cap, max(rate, today)),
    )


def _log(before: ChainTransaction, now: ChainTransaction) -> None:
    logger.info(
        "transaction pays more",
        extra=chain_event(
            "signed",
            now.txid,
            outcome="fee_raised",
            replaces=before.txid,
            fee_satoshis=now.fee_satoshis,
            request_ids=list(now.request_ids),
        ),
    )
