"""Sends transactions through the services of the operator's choice, the next where one fails."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Protocol

from app import measures
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.transactions import Transaction
from app.clients.circuit import Circuit, CircuitState
from app.clients.outcomes import BroadcastOutcome, BroadcastStatus
from app.clients.transport import NoAnswerError, NotSentError

logger = logging.getLogger(__name__)

# Why nobody knows what became of a broadcast, in the words of monitoring.
UNKNOWN_REASONS = ("outage", "not_sent", "unclear")
_NEVER_VALID = frozenset({BroadcastStatus.INVALID, BroadcastStatus.FEE_TOO_LOW})


@dataclass(frozen=True)
class RawTransaction:
    """A signed transaction as hex; `extended_hex` (BRC-30) carries the outputs that it spends."""

    txid: str
    raw_tx_hex: str
    extended_hex: str | None = None


class BroadcastService(Protocol):
    """A client that can send; `batch_size` is how many go in one call."""

    name: str
    batch_size: int

    def broadcast_many(self, transactions: Sequence[RawTransaction]) -> dict[str, BroadcastOutcome]:
        """Send up to `batch_size` transactions once; trouble on the wire is UNKNOWN, no error."""

    def get_fee_recommendation(self) -> int | None:
        """Return satoshis per 1000 bytes, or None when there is no sane advice; never raise."""


class Broadcaster:
    """Asks its services in order until one has said something clear about each transaction.

    `circuits` holds one circuit for the name of each service.
    """

    def __init__(
        self, services: Sequence[BroadcastService], circuits: Mapping[str, Circuit]
    ) -> None:
        self._services = tuple(services)
        self._circuits = {service.name: circuits[service.name] for service in services}

    def broadcast(self, transactions: Iterable[RawTransaction]) -> dict[str, BroadcastOutcome]:
        """Send each transaction, parents before children; return one outcome for each txid.

        A service that is left alone, or whose answer is UNKNOWN, is followed by the next with
        the same bytes. Nothing is sent to one service twice.
        """
        ordered = order_parents_first(transactions)
        outcomes: dict[str, BroadcastOutcome] = {}
        for service in self._services:
            open_ones = [each for each in ordered if _is_open(outcomes.get(each.txid))]
            for txid, outcome in self._ask(service, open_ones).items():
                earlier = outcomes.get(txid)
                outcomes[txid] = outcome if earlier is None else _combine(earlier, outcome)
        return outcomes

    @property
    def batch_size(self) -> int:
        """How many transactions the service that is asked first takes in one call."""
        return self._services[0].batch_size

    def fee_policy(self) -> int | None:
        """Return the satoshis per 1000 bytes of the first service that names them, or None."""
        for service in self._services:
            if self._circuits[service.name].state().position == "open":
                continue
            satoshis_per_kilobyte = service.get_fee_recommendation()
            if satoshis_per_kilobyte is not None:
                return satoshis_per_kilobyte
        return None

    def note_arrival(self, service_name: str) -> None:
        """Close the circuit of a service that turns out to have taken what it did not answer."""
        self._circuits[service_name].succeed()

    def circuit_states(self) -> dict[str, CircuitState]:
        """Return where the circuit of each service stands, in the order of asking."""
        return {name: circuit.state() for name, circuit in self._circuits.items()}

    def _ask(
        self, service: BroadcastService, transactions: Sequence[RawTransaction]
    ) -> dict[str, BroadcastOutcome]:
        circuit = self._circuits[service.name]
        told: dict[str, BroadcastOutcome] = {}
        for start in range(0, len(transactions), service.batch_size):
            if not circuit.admit():
                left_alone = _left_alone(circuit.state())
                told |= {each.txid: left_alone for each in transactions[start:]}
                _log_skipped(service.name, len(transactions) - start, left_alone.reason)
                break
            answered = service.broadcast_many(transactions[start : start + service.batch_size])
            _report(circuit, answered.values())
            _measure(service.name, answered.values())
            told |= answered
        return {txid: replace(each, service=service.name) for txid, each in told.items()}


def order_parents_first(transactions: Iterable[RawTransaction]) -> list[RawTransaction]:
    """Return each transaction once, behind those of the same list that it spends from."""
    by_txid = {each.txid: each for each in transactions}
    if len(by_txid) < 2:
        return list(by_txid.values())
    # All are named first, so that those without parents here keep their order.
    sorter = TopologicalSorter(dict.fromkeys(by_txid, ()))
    for txid, each in by_txid.items():
        sorter.add(txid, *sorted(_spent_txids(each) & by_txid.keys()))
    return [by_txid[txid] for txid in sorter.static_order()]


def sort_silence(error: NoAnswerError) -> BroadcastOutcome:
    """Return the outcome of a call without an answer."""
    if isinstance(error, NotSentError):
        return BroadcastOutcome(
            BroadcastStatus.UNKNOWN,
            str(error),
            retry_after_seconds=error.retry_after_seconds,
            was_refused=True,
        )
    return BroadcastOutcome(BroadcastStatus.UNKNOWN, str(error), is_outage=True)


def log_answer(service: str, txid: str, outcome: BroadcastOutcome) -> None:
    """Write the one line that every answer to a broadcast leaves in the log."""
    logger.info(
        "broadcast answered",
        extra={
            "event": "broadcast_answered",
            "service": service,
            "txid": txid,
            "status": outcome.status.value,
            "http_status": outcome.http_status,
            "reason": outcome.reason,
        },
    )


def _spent_txids(transaction: RawTransaction) -> set[str]:
    try:
        inputs = Transaction.from_hex(transaction.raw_tx_hex).inputs
    except BitcoinFormatError:
        # A service will say what is wrong with it.
        return set()
    return {each.outpoint.txid for each in inputs}


def _is_open(outcome: BroadcastOutcome | None) -> bool:
    return outcome is None or outcome.status is BroadcastStatus.UNKNOWN


def _left_alone(state: CircuitState) -> BroadcastOutcome:
    reason = f"left alone after failures, the last: {state.reason}"
    return BroadcastOutcome(BroadcastStatus.UNKNOWN, reason, was_refused=True, is_outage=True)


def _report(circuit: Circuit, outcomes: Iterable[BroadcastOutcome]) -> None:
    # What our own pace kept from being sent teaches nothing about the service.
    sent = [each for each in outcomes if each.http_status is not None or not each.was_refused]
    if sent and all(each.is_outage for each in sent):
        circuit.fail(sent[0].reason)
    elif sent:
        circuit.succeed()


def _measure(service: str, outcomes: Iterable[BroadcastOutcome]) -> None:
    for each in outcomes:
        measures.BROADCASTS.add(service, each.status.value, _reason(each))


def _reason(outcome: BroadcastOutcome) -> str:
    """Why nobody knows what became of it, in one of few words; else what its status says."""
    if outcome.status is not BroadcastStatus.UNKNOWN:
        return outcome.status.value
    if outcome.is_outage:
        return "outage"
    return "not_sent" if outcome.was_refused else "unclear"


def _combine(earlier: BroadcastOutcome, later: BroadcastOutcome) -> BroadcastOutcome:
    """Join an UNKNOWN with what the next service said about the same bytes."""
    if later.status in _NEVER_VALID and not earlier.was_refused:
        # Rules of policy differ among nodes: the first service may have it, and then its inputs
        # must not be freed because the second would not take it.
        later = replace(later, status=BroadcastStatus.UNKNOWN)
    if later.status is not BroadcastStatus.UNKNOWN:
        return later
    pauses = [earlier.retry_after_seconds, later.retry_after_seconds]
    wishes = [pause for pause in pauses if pause is not None]
    return replace(
        later,
        reason=f"{earlier.service}: {earlier.reason}; {later.service}: {later.reason}",
        retry_after_seconds=min(wishes) if len(wishes) == len(pauses) else None,
        competing_txids=tuple(dict.fromkeys(earlier.competing_txids + later.competing_txids)),
        was_refused=earlier.was_refused and later.was_refused,
        is_outage=earlier.is_outage and later.is_outage,
    )


def _log_skipped(service: str, count: int, reason: str) -> None:
    logger.warning(
        "broadcaster is left alone",
        extra={
            "event": "broadcaster_skipped",
            "service": service,
            "count": count,
            "reason": reason,
        },
    )
