"""The client of ARC, a transaction processor: broadcasts one or many, tells status and policy."""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from app.clients import arc_answers as answers
from app.clients.arc_answers import ArcPolicy, ArcTransaction
from app.clients.broadcasting import RawTransaction, log_answer, sort_silence
from app.clients.outcomes import (
    BroadcastOutcome,
    BroadcastStatus,
    ServiceUnavailableError,
    UnexpectedAnswerError,
)
from app.clients.transport import CallPolicy, HttpAnswer, HttpTransport, NoAnswerError, parse_json

logger = logging.getLogger(__name__)

SERVICE = answers.SERVICE
BATCH_SIZE = 100
PING_SECONDS = 3.0
SHORTEST_TIMEOUT_SECONDS = 3.0
LONGEST_WAIT_SECONDS = 5
_MISSING = BroadcastOutcome(BroadcastStatus.UNKNOWN, "the answer does not name it", 200)


class ArcClient:
    """Sends to one ARC, whose base URL is without `/v1`.

    Lookups are tried again on silence, 429 and 5xx, and raise ServiceUnavailableError at the
    end of their tries or UnexpectedAnswerError at once for an answer that can't be right.
    """

    name = SERVICE
    batch_size = BATCH_SIZE

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 15.0,
        retries: int = 2,
        sleep: Callable[[float], None] = time.sleep,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        if timeout_seconds < SHORTEST_TIMEOUT_SECONDS:
            raise ValueError("ARC needs at least 3 seconds: it answers after a wait of its own")
        # An orphan makes ARC wait to the end; its answer must still find us listening.
        wait_seconds = min(LONGEST_WAIT_SECONDS, int(timeout_seconds / 3))
        self._submit_headers = {
            "X-WaitFor": "SEEN_ON_NETWORK",
            "X-MaxTimeout": str(wait_seconds),
        }
        self._transport = HttpTransport(
            SERVICE,
            f"{base_url.rstrip('/')}/v1",
            policy=CallPolicy(
                attempts=retries + 1,
                timeout_seconds=timeout_seconds,
                budget_seconds=2 * timeout_seconds,
                first_delay_seconds=0.2,
            ),
            auth_headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            sleep=sleep,
            random_unit=random_unit,
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def ping(self) -> None:
        """Return when the service calls itself healthy, else raise."""
        answer = self._transport.call("GET", "/health", attempts=1, budget_seconds=PING_SECONDS)
        health = parse_json(SERVICE, answer)
        if not isinstance(health, dict) or not isinstance(health.get("healthy"), bool):
            raise UnexpectedAnswerError(SERVICE, "the health answer is odd")
        if not health["healthy"]:
            raise ServiceUnavailableError(
                SERVICE, f"not healthy: {str(health.get('reason'))[:100]}"
            )

    def broadcast(self, transaction: RawTransaction) -> BroadcastOutcome:
        """Send a transaction once and sort the answer; trouble on the wire is UNKNOWN, no error."""
        sent = self._submit("/tx", _body(transaction))
        outcome = (
            answers.sort_answer(sent, transaction.txid) if isinstance(sent, HttpAnswer) else sent
        )
        log_answer(SERVICE, transaction.txid, outcome)
        return outcome

    def broadcast_many(self, transactions: Sequence[RawTransaction]) -> dict[str, BroadcastOutcome]:
        """Send transactions in one call and return one outcome for each txid.

        One that the answer leaves out is UNKNOWN. When ARC can't read one of them it refuses
        all, and then each goes by itself.
        """
        if len(transactions) < 2:
            return {each.txid: self.broadcast(each) for each in transactions}
        sent = self._submit("/txs", [_body(each) for each in transactions])
        if isinstance(sent, HttpAnswer) and answers.is_about_the_batch(sent):
            logger.warning(
                "batch refused, its transactions go one by one",
                extra={
                    "event": "batch_refused",
                    "service": SERVICE,
                    "count": len(transactions),
                    "reason": sent.words,
                },
            )
            return self._broadcast_each(transactions)
        outcomes = _sort_all(sent, transactions)
        for txid, outcome in outcomes.items():
            log_answer(SERVICE, txid, outcome)
        return outcomes

    def find_transaction(self, txid: str) -> ArcTransaction | None:
        """Return where a transaction stands, or None when this ARC has never had it.

        None says nothing about the chain.
        """
        answer = self._transport.call("GET", f"/tx/{quote(txid, safe='')}")
        if answer.status == 404 and not answer.is_markup:
            return None
        return answers.parse_transaction(parse_json(SERVICE, answer), txid)

    def get_policy(self) -> ArcPolicy:
        """Return what this ARC demands of transactions."""
        return answers.parse_policy(parse_json(SERVICE, self._transport.call("GET", "/policy")))

    def get_fee_recommendation(self) -> int | None:
        """Return the demanded satoshis per 1000 bytes, or None when there is no sane answer."""
        try:
            return self.get_policy().satoshis_per_kilobyte
        except ServiceUnavailableError as error:
            logger.warning(
                "no fee advice",
                extra={"event": "fee_advice_missing", "service": SERVICE, "reason": error.reason},
            )
            return None

    def _submit(self, path: str, body: Any) -> HttpAnswer | BroadcastOutcome:
        try:
            return self._transport.send_once(
                "POST", path, json_body=body, headers=self._submit_headers
            )
        except NoAnswerError as error:
            return sort_silence(error)

    def _broadcast_each(
        self, transactions: Sequence[RawTransaction]
    ) -> dict[str, BroadcastOutcome]:
        outcomes: dict[str, BroadcastOutcome] = {}
        last = _MISSING
        for each in transactions:
            # A service that has just gone silent is not asked a hundred times more.
            outcomes[each.txid] = last = last if last.is_outage else self.broadcast(each)
        return outcomes


def _body(transaction: RawTransaction) -> Mapping[str, str]:
    # With the extended format ARC need not find the parents.
    return {"rawTx": transaction.extended_hex or transaction.raw_tx_hex}


def _sort_all(
    sent: HttpAnswer | BroadcastOutcome, transactions: Sequence[RawTransaction]
) -> dict[str, BroadcastOutcome]:
    txids = [each.txid for each in transactions]
    if isinstance(sent, BroadcastOutcome):
        return dict.fromkeys(txids, sent)
    told = answers.sort_batch(sent) if sent.status == 200 else {}
    if not told:
        return {txid: answers.sort_answer(sent, txid, must_name_it=True) for txid in txids}
    return {txid: told.get(txid, _MISSING) for txid in txids}
