"""Gathers many outputs into few: the pool's dust, or everything at an address.

Spends exactly the outputs that it has locked, never what a chain service lists.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app import extensions
from app.bitcoin.addresses import Address, parse_address
from app.bitcoin.errors import InvalidAddressError
from app.bitcoin.transactions import TxOutput
from app.domain.sweeping import SweepRound, plan_sweep
from app.errors import InvalidInputError
from app.models.transaction import TransactionKind
from app.models.utxo import Utxo
from app.services import knobs, pool_sync, reshaping
from app.services.maintenance import Guard, exclusive
from app.services.pool_sync import Watched
from app.services.reshaping import OnProgress, SentTransaction, unwatched

logger = logging.getLogger(__name__)

# More waits for the next sweep.
_MAX_ROUNDS = 50


class SweepOutcome(StrEnum):
    DONE = "done"
    BELOW_LIMIT = "dust_below_limit"
    NOTHING = "nothing_worth_it"
    NOT_ACCEPTED = "not_accepted"


@dataclass(frozen=True)
class SweepPlan:
    """The rounds of a sweep of `count` outputs; none below the `limit` that triggers it."""

    count: int
    limit: int
    satoshis_per_kilobyte: int
    rounds: tuple[SweepRound, ...]

    @property
    def why_nothing(self) -> SweepOutcome:
        is_below = self.count < self.limit
        return SweepOutcome.BELOW_LIMIT if is_below else SweepOutcome.NOTHING


@dataclass(frozen=True)
class SweepReport:
    """How a sweep ended: outputs that were there, and the transactions that gather them."""

    outcome: SweepOutcome
    count: int
    inputs: int = 0
    transactions: Sequence[SentTransaction] = ()


def plan_dust(*, threshold: int | None = None, limit: int | None = None) -> SweepPlan:
    """Plans the sweep of spendable outputs below `threshold` satoshis; reads only.

    `limit` is how many there must be. Both are live settings by default.

    Raises:
        InvalidInputError: the threshold is above what a split makes: it would undo splits.
    """
    today = knobs.load()
    below = today.dust_threshold if threshold is None else threshold
    if below > today.split_size:
        raise InvalidInputError.for_field(
            "threshold", f"{below} is above UTXO_SPLIT_SIZE_SATS={today.split_size}"
        )
    dust = Utxo.list_dust(
        extensions.get().settings.utxo_funding_key_identifier,
        below=below,
        limit=_MAX_ROUNDS * today.sweep_max_inputs,
    )
    needed = today.dust_sweep_limit if limit is None else limit
    rounds: Sequence[SweepRound] = ()
    if len(dust) >= needed:
        # One output into one would only cost its fee.
        rounds = plan_sweep(
            dust,
            satoshis_per_kilobyte=today.satoshis_per_kilobyte,
            max_inputs=today.sweep_max_inputs,
            min_inputs=2,
        )
    return SweepPlan(len(dust), needed, today.satoshis_per_kilobyte, tuple(rounds))


def sweep_dust(
    *,
    threshold: int | None = None,
    limit: int | None = None,
    on_progress: OnProgress = unwatched,
) -> SweepReport:
    """Gathers the pool's dust into one output for each so many inputs.

    Raises:
        LockHeldError: somebody else maintains the pool.
        InvalidInputError: see `plan_dust`.
        SignerUnavailableError: the signer did not sign; everything is free again.
    """
    with exclusive() as guard:
        return sweep_dust_under(guard, threshold=threshold, limit=limit, on_progress=on_progress)


def sweep_dust_under(
    guard: Guard,
    *,
    threshold: int | None = None,
    limit: int | None = None,
    on_progress: OnProgress = unwatched,
) -> SweepReport:
    """The same for whoever has the lock."""
    planned = plan_dust(threshold=threshold, limit=limit)
    settings = extensions.get().settings
    destination = parse_address(settings.utxo_funding_address, settings.woc_network)
    return _run(guard, planned, destination, min_inputs=2, on_progress=on_progress)


def plan_address(source: Watched, destination: str) -> SweepPlan:
    """Plans to move everything at an address; asks the chain, and writes nothing.

    Raises:
        InvalidInputError: an address is not of our network, both are one, or the key is not the
            address's.
        ServiceUnavailableError: chain service or signer are away.
    """
    _check(source, destination)
    return _plan_outputs(pool_sync.survey(source).spendable)


def sweep_address(
    source: Watched, destination: str, *, on_progress: OnProgress = unwatched
) -> SweepReport:
    """Moves everything at an address whose key the signer holds, in rounds of bounded size.

    Raises:
        LockHeldError: somebody else maintains the pool.
        InvalidInputError, ServiceUnavailableError: see `plan_address`.
        SignerUnavailableError: the signer did not sign; everything is free again.
    """
    paid = _check(source, destination)
    with exclusive() as guard:
        # Its outputs get rows of their own first, so that they are locked like any other.
        pool_sync.sync_under(guard, source, on_progress=on_progress)
        listed = Utxo.list_available(
            source.key_identifier, limit=_MAX_ROUNDS * knobs.load().sweep_max_inputs
        )
        coins = [coin for coin in listed if coin.address == source.address]
        return _run(guard, _plan_outputs(coins), paid, min_inputs=1, on_progress=on_progress)


def _check(source: Watched, destination: str) -> Address:
    ours, paid = _parse("address", source.address), _parse("destination", destination)
    if ours == paid:
        raise InvalidInputError.for_field("destination", "is the address that is to be swept")
    public_key = extensions.get().kms.get_public_key(source.key_identifier)
    if public_key is None:
        raise InvalidInputError.for_field(
            "key_identifier", f"the signer has no key named {source.key_identifier!r}"
        )
    if public_key.hash160() != ours.hash160:
        raise InvalidInputError.for_field(
            "key_identifier", f"the key {source.key_identifier!r} is not that of {source.address}"
        )
    return paid


def _parse(field: str, text: str) -> Address:
    try:
        return parse_address(text, extensions.get().settings.woc_network)
    except InvalidAddressError as error:
        raise InvalidInputError.for_field(field, str(error)) from error


def _plan_outputs(coins: Sequence[Utxo]) -> SweepPlan:
    today = knobs.load()
    rounds = plan_sweep(
        coins,
        satoshis_per_kilobyte=today.satoshis_per_kilobyte,
        max_inputs=today.sweep_max_inputs,
    )
    return SweepPlan(len(coins), 0, today.satoshis_per_kilobyte, tuple(rounds))


def _run(
    guard: Guard,
    planned: SweepPlan,
    destination: Address,
    *,
    min_inputs: int,
    on_progress: OnProgress,
) -> SweepReport:
    sent: list[SentTransaction] = []
    for number, each in enumerate(planned.rounds):
        on_progress("sweep", number, len(planned.rounds))
        transaction = _send(guard, planned, each, destination, min_inputs)
        if transaction is not None:
            sent.append(transaction)
            if not transaction.is_accepted:
                # Whatever the network has against it, it would have against the others.
                break
    if not sent:
        return _report(planned.why_nothing, planned, sent)
    is_done = sent[-1].is_accepted
    return _report(SweepOutcome.DONE if is_done else SweepOutcome.NOT_ACCEPTED, planned, sent)


def _send(
    guard: Guard, planned: SweepPlan, wanted: SweepRound, destination: Address, min_inputs: int
) -> SentTransaction | None:
    """One round with those of its outputs that nobody else has locked meanwhile."""
    locked = reshaping.lock(wanted.outpoints, guard)
    rounds = plan_sweep(
        locked.coins,
        satoshis_per_kilobyte=planned.satoshis_per_kilobyte,
        max_inputs=len(wanted.outpoints),
        min_inputs=min_inputs,
    )
    if not rounds:
        reshaping.give_back(locked)
        return None
    return reshaping.send(
        TransactionKind.SWEEP,
        locked,
        (TxOutput(rounds[0].swept_satoshis, destination.locking_script()),),
        satoshis_per_kilobyte=planned.satoshis_per_kilobyte,
        guard=guard,
    )


def _report(
    outcome: SweepOutcome, planned: SweepPlan, sent: Sequence[SentTransaction]
) -> SweepReport:
    report = SweepReport(
        outcome=outcome,
        count=planned.count,
        inputs=sum(each.inputs for each in sent),
        transactions=tuple(sent),
    )
    logger.info(
        "sweep: %s",
        outcome.value,
        extra={
            "event": "pool.swept",
            "outcome": outcome.value,
            "count": report.count,
            "inputs": report.inputs,
            "txids": [each.txid for each in sent],
        },
    )
    return report
