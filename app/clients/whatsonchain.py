"""The client of WhatsOnChain's REST API: broadcasts, and looks up outputs, spends and proofs."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar
from urllib.parse import quote

from app.bitcoin.hashes import double_sha256, txid_from_hash
from app.bitcoin.transactions import Outpoint
from app.clients import whatsonchain_answers as answers
from app.clients.broadcasting import RawTransaction, log_answer, sort_silence
from app.clients.chain_types import (
    CHAIN_NAMES,
    OUTPUT_UNKNOWN,
    UNSPENT,
    ChainInfo,
    ChainStatus,
    HeaderAt,
    SpentOutcome,
    TscProof,
    UnspentOutput,
)
from app.clients.node_errors import classify_node_error, unquote_node_error
from app.clients.outcomes import (
    BroadcastOutcome,
    BroadcastStatus,
    ServiceUnavailableError,
    UnexpectedAnswerError,
    WrongNetworkError,
)
from app.clients.transport import (
    CallPolicy,
    HttpAnswer,
    HttpTransport,
    NoAnswerError,
    Pacer,
    parse_json,
)

logger = logging.getLogger(__name__)

SERVICE = answers.SERVICE
BULK_SIZE = 20
PING_SECONDS = 3.0
_GREETING = "whats on chain"
_MAX_REASON_LENGTH = 300
_T = TypeVar("_T")


class UnknownBlockError(UnexpectedAnswerError):
    """The service knows no such block: off its chains, or above its tip."""


class WhatsOnChainClient:
    """Asks one WhatsOnChain server about one network.

    Lookups are tried again on silence, 429 and 5xx, and raise ServiceUnavailableError at the
    end of their tries or UnexpectedAnswerError at once for an answer that can't be right.
    Every request waits for its turn when there is a `pacer`.
    """

    name = SERVICE
    batch_size = 1

    def __init__(  # noqa: PLR0913 - one plain setting each
        self,
        base_url: str,
        *,
        network_name: str = "main",
        api_key: str | None = None,
        api_key_header: str = "Authorization",
        timeout_seconds: float = 15.0,
        retries: int = 2,
        page_limit: int = 1000,
        pacer: Pacer | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._chain_names = CHAIN_NAMES[network_name]
        self._page_limit = page_limit
        self._transport = HttpTransport(
            SERVICE,
            base_url,
            policy=CallPolicy(
                attempts=retries + 1,
                timeout_seconds=timeout_seconds,
                budget_seconds=2 * timeout_seconds,
                first_delay_seconds=0.2,
            ),
            auth_headers={api_key_header: api_key} if api_key else None,
            pacer=pacer,
            sleep=sleep,
            random_unit=random_unit,
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def ping(self) -> None:
        """Return when the service greets us within three seconds, else raise."""
        answer = self._transport.call(
            "GET", "/woc", attempts=1, budget_seconds=PING_SECONDS, is_urgent=True
        )
        if answer.status != 200 or _GREETING not in answer.text.lower() or answer.is_markup:
            raise UnexpectedAnswerError(SERVICE, "no greeting at /woc")

    def broadcast(self, raw_tx_hex: str, txid: str) -> BroadcastOutcome:
        """Send a transaction once and sort the answer; trouble on the wire is UNKNOWN, no error.

        Nothing is sent again here: the caller decides, after it has asked whether the network
        knows `txid` by now.
        """
        try:
            answer = self._transport.send_once(
                "POST", "/tx/raw", json_body={"txhex": raw_tx_hex}, headers={"Accept": "text/plain"}
            )
        except NoAnswerError as error:
            outcome = sort_silence(error)
        else:
            outcome = _sort_broadcast_answer(answer, txid)
        log_answer(SERVICE, txid, outcome)
        return outcome

    def broadcast_many(self, transactions: Sequence[RawTransaction]) -> dict[str, BroadcastOutcome]:
        """Send transactions one by one, in their order; the service reads plain bytes only."""
        return {each.txid: self.broadcast(each.raw_tx_hex, each.txid) for each in transactions}

    def list_transaction_statuses(self, txids: Iterable[str]) -> dict[str, ChainStatus]:
        """Return where each transaction is; one about which nothing clear was said is missing."""
        asked = list(dict.fromkeys(txids))
        statuses: dict[str, ChainStatus] = {}
        for chunk in _chunks(asked):
            answer = self._transport.call("POST", "/txs/status", json_body={"txids": chunk})
            told = answers.parse_statuses(parse_json(SERVICE, answer))
            statuses.update({txid: told[txid] for txid in chunk if txid in told})
        _log_missing("statuses_missing", len(asked) - len(statuses))
        return statuses

    def find_proof(self, txid: str) -> TscProof | None:
        """Return the merkle proof of a mined transaction, None while it is unmined or unknown."""
        answer = self._transport.call("GET", f"/tx/{quote(txid, safe='')}/proof/tsc")
        if _is_absent(answer):
            return None
        return answers.parse_proof(parse_json(SERVICE, answer), txid)

    def get_header(self, hash_or_height: str | int) -> HeaderAt:
        """Return a header that hashes to what was asked for or, by height, to what is answered.

        Raises UnknownBlockError for a block that the service doesn't know. A header asked for
        by hash may be off the best chain; proof of work is the caller's to check.
        """
        answer = self._transport.call("GET", f"/block/{quote(str(hash_or_height), safe='')}/header")
        if _is_absent(answer):
            raise UnknownBlockError(SERVICE, f"block {hash_or_height} is unknown")
        found = answers.parse_header(parse_json(SERVICE, answer))
        if hash_or_height not in (found.block_hash, found.height):
            raise UnexpectedAnswerError(SERVICE, "the header is of another block")
        return found

    def get_chain_info(self, *, budget_seconds: float | None = None) -> ChainInfo:
        """Return the tip; raise WrongNetworkError when the service is on another network."""
        answer = self._transport.call("GET", "/chain/info", budget_seconds=budget_seconds)
        info = answers.parse_chain_info(parse_json(SERVICE, answer))
        if info.chain not in self._chain_names:
            raise WrongNetworkError(SERVICE, f"the service is on chain {info.chain[:20]!r}")
        return info

    def list_unspent(self, address: str) -> list[UnspentOutput]:
        """Return every output listed for the address, from all pages, each outpoint once.

        A page that fails fails the call: half a list would look like outputs gone. Outputs
        spent in the mempool are included and flagged.
        """
        outputs: list[UnspentOutput] = []
        for page in self._list_unspent_pages(address):
            outputs.extend(page)
        return answers.fold_duplicates(outputs)

    def _list_unspent_pages(self, address: str) -> Iterator[list[UnspentOutput]]:
        path = f"/address/{quote(address, safe='')}/unspent/all"
        params: dict[str, str] | None = None
        seen_tokens: set[str] = set()
        for _ in range(self._page_limit):
            answer = self._transport.call("GET", path, params=params)
            if params is None and _is_absent(answer):
                return
            page, token = answers.parse_unspent_page(parse_json(SERVICE, answer), address)
            yield page
            if token is None:
                return
            if token in seen_tokens:
                raise UnexpectedAnswerError(SERVICE, "the pages of the unspent list go in a circle")
            seen_tokens.add(token)
            params = {"token": token}
        raise UnexpectedAnswerError(SERVICE, f"more than {self._page_limit} pages of outputs")

    def find_spend(self, txid: str, vout: int) -> SpentOutcome:
        """Return what spends an output, or UNSPENT, or OUTPUT_UNKNOWN.

        The service answers 404 for an unspent output and 400 for one that it does not know.
        """
        answer = self._transport.call("GET", f"/tx/{quote(txid, safe='')}/{vout}/spent")
        if _is_absent(answer):
            return UNSPENT
        if answer.status == 400 and not answer.is_markup:
            return OUTPUT_UNKNOWN
        return answers.parse_spend(parse_json(SERVICE, answer))

    def find_spends(self, outpoints: Iterable[Outpoint]) -> dict[Outpoint, SpentOutcome]:
        """Return what spends each output, asking in bulk first.

        The bulk form can't tell an unspent output from an unknown one, so those that it names
        no spend for are asked about one by one.
        """
        outcomes: dict[Outpoint, SpentOutcome] = {}
        for chunk in _chunks(list(dict.fromkeys(outpoints))):
            asked = [{"txid": outpoint.txid, "vout": outpoint.vout} for outpoint in chunk]
            answer = self._transport.call("POST", "/utxos/spent", json_body={"utxos": asked})
            spends = {}
            if answer.status not in (400, 404):
                spends = answers.parse_bulk_spends(parse_json(SERVICE, answer))
            for outpoint in chunk:
                spend = spends.get((outpoint.txid, outpoint.vout))
                outcomes[outpoint] = spend or self.find_spend(outpoint.txid, outpoint.vout)
        return outcomes

    def find_raw_transaction(self, txid: str) -> str | None:
        """Return a transaction's bytes in lower-case hex, checked by their hash, or None."""
        answer = self._transport.call("GET", f"/tx/{quote(txid, safe='')}/hex")
        if _is_absent(answer):
            return None
        if answer.status != 200:
            raise UnexpectedAnswerError(SERVICE, f"answered {answer.status}")
        raw_tx = answers.parse_hex_text(answer.text)
        if txid_from_hash(double_sha256(raw_tx)) != txid:
            raise UnexpectedAnswerError(SERVICE, "the transaction has another hash")
        return raw_tx.hex()

    def get_fee_recommendation(self) -> int | None:
        """Return the advised satoshis per 1000 bytes, or None when there is no sane advice.

        Never raises: the operator's own rate is always there to fall back on.
        """
        try:
            answer = self._transport.call("GET", "/feerecommendation")
            fee = answers.find_fee(parse_json(SERVICE, answer))
        except ServiceUnavailableError as error:
            _log_no_fee(error.reason)
            return None
        if fee is None:
            _log_no_fee("odd answer")
        return fee


def _sort_broadcast_answer(answer: HttpAnswer, txid: str) -> BroadcastOutcome:
    words = unquote_node_error(answer.text)[:_MAX_REASON_LENGTH]
    status = BroadcastStatus.UNKNOWN
    was_refused = answer.status in (401, 403, 429)
    if answer.is_markup:
        words = f"answered {answer.status} with a web page"
    elif answer.status == 200:
        # Nothing but our own txid proves that our transaction was taken.
        if answers.parse_txid_text(answer.text) == txid:
            return BroadcastOutcome(BroadcastStatus.ACCEPTED, "accepted", answer.status)
        words = f"answered 200 without our txid: {words}"
    elif not was_refused:
        # Any other code may carry the node's words; its number says nothing.
        status = classify_node_error(answer.text)
    is_open = status is BroadcastStatus.UNKNOWN
    return BroadcastOutcome(
        status,
        words or f"answered {answer.status}",
        answer.status,
        answer.retry_after_seconds,
        was_refused=was_refused,
        is_outage=is_open and not was_refused and (answer.is_markup or answer.status >= 500),
    )


def _is_absent(answer: HttpAnswer) -> bool:
    # A web page with a 404 comes from a proxy or a wrong base URL, and says nothing.
    return answer.status == 404 and not answer.is_markup


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), BULK_SIZE):
        yield items[start : start + BULK_SIZE]


def _log_missing(event: str, count: int) -> None:
    if count:
        logger.warning(
            "answer is incomplete", extra={"event": event, "service": SERVICE, "count": count}
        )


def _log_no_fee(reason: str) -> None:
    logger.warning(
        "no fee advice", extra={"event": "fee_advice_missing", "service": SERVICE, "reason": reason}
    )
