"""ARC's client against the devnet chain."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from app.bitcoin.transactions import Outpoint
from app.clients.arc import ArcClient
from app.clients.broadcasting import order_parents_first
from app.clients.outcomes import BroadcastStatus
from app.clients.whatsonchain import WhatsOnChainClient
from tests.integration.clients.conftest import ChainControl
from tests.integration.clients.wallet import COIN, FEE, Wallet, raw

ACCEPTED = BroadcastStatus.ACCEPTED


@pytest.fixture
def arc(chain: ChainControl, sleep: Callable[[float], None]) -> Iterator[ArcClient]:
    """Yield a client of the devnet that never really sleeps."""
    made = ArcClient(chain.arc_url, api_key="any", timeout_seconds=15.0, sleep=sleep)
    yield made
    made.close()


@pytest.fixture
def woc(chain: ChainControl) -> Iterator[WhatsOnChainClient]:
    """Yield a client of the same chain's other wire."""
    made = WhatsOnChainClient(chain.woc_url, network_name="regtest", timeout_seconds=15.0)
    yield made
    made.close()


@pytest.mark.parametrize("is_extended", [True, False])
def test_a_transaction_from_broadcast_to_proof(
    arc: ArcClient, woc: WhatsOnChainClient, chain: ChainControl, wallet: Wallet, is_extended: bool
) -> None:
    transaction = wallet.spend(wallet.fund())
    assert arc.find_transaction(transaction.txid) is None

    outcome = arc.broadcast(raw(transaction, is_extended=is_extended))

    assert (outcome.status, outcome.reason) == (ACCEPTED, "SEEN_ON_NETWORK")
    waiting = arc.find_transaction(transaction.txid)
    assert waiting is not None
    assert (waiting.tx_status, waiting.merkle_path) == ("SEEN_ON_NETWORK", None)

    block_hash = chain.mine(1)["blocks"][0]
    mined = arc.find_transaction(transaction.txid)
    header = woc.get_header(block_hash)

    assert mined is not None
    assert (mined.is_mined, mined.block_hash) == (True, block_hash)
    assert mined.block_height == header.height
    assert mined.merkle_path is not None
    assert mined.merkle_path.root(transaction.txid) == header.header.merkle_root


def test_fifty_go_in_one_call_with_those_that_fail_among_them(
    arc: ArcClient, chain: ChainControl, wallet: Wallet
) -> None:
    coins = wallet.fund(outputs=50)
    transactions = [wallet.spend([coin]) for coin in coins[:48]]
    cheap = wallet.spend([coins[48]], fee=0)
    unknown = wallet.spend([Outpoint("12" * 32, 0)])
    accepted_before = chain.get("stats")["accepted"]

    outcomes = arc.broadcast_many([raw(each) for each in [cheap, *transactions, unknown]])

    assert len(outcomes) == 50
    assert {outcomes[each.txid].status for each in transactions} == {ACCEPTED}
    assert outcomes[cheap.txid].status is BroadcastStatus.FEE_TOO_LOW
    assert outcomes[unknown.txid].status is BroadcastStatus.MISSING_INPUTS
    assert chain.get("stats")["accepted"] - accepted_before == 48


def test_a_line_of_parents_and_children_goes_in_one_call(arc: ArcClient, wallet: Wallet) -> None:
    line = [wallet.spend(wallet.fund())]
    while len(line) < 10:
        parent = line[-1]
        line.append(wallet.spend([Outpoint(parent.txid, 0)], satoshis=parent.outputs[0].satoshis))
    batch = order_parents_first(raw(each, is_extended=False) for each in reversed(line))

    outcomes = arc.broadcast_many(batch)

    assert [outcomes[each.txid].status for each in line] == [ACCEPTED] * 10


def test_m6_the_same_bytes_again_are_a_success(
    arc: ArcClient, chain: ChainControl, wallet: Wallet
) -> None:
    transaction = raw(wallet.spend(wallet.fund()))

    outcomes = [arc.broadcast(transaction) for _ in range(2)]
    chain.mine(1)
    outcomes.append(arc.broadcast(transaction))

    assert all(outcome.is_success for outcome in outcomes)
    assert outcomes[-1].reason == "MINED"


def test_m6_one_that_was_mined_behind_arcs_back_is_open_first(
    arc: ArcClient, woc: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    transaction = wallet.spend(wallet.fund())
    woc.broadcast(transaction.to_hex(), transaction.txid)
    chain.mine(1)

    first = arc.broadcast(raw(transaction))
    second = arc.broadcast(raw(transaction))

    assert first.status is BroadcastStatus.UNKNOWN
    assert not first.was_refused
    assert second.status is ACCEPTED


def test_a_second_spender_is_a_conflict_that_names_the_first(
    arc: ArcClient, wallet: Wallet
) -> None:
    coins = wallet.fund()
    first, second = wallet.spend(coins), wallet.spend(coins, fee=FEE + 1)

    assert arc.broadcast(raw(first)).status is ACCEPTED
    outcome = arc.broadcast(raw(second))

    assert outcome.status is BroadcastStatus.CONFLICT
    assert outcome.competing_txids == (first.txid,)


def test_an_input_spent_in_a_block_is_a_claim_of_missing_inputs(
    arc: ArcClient, chain: ChainControl, wallet: Wallet
) -> None:
    coins = wallet.fund()
    arc.broadcast(raw(wallet.spend(coins)))
    chain.mine(1)

    outcome = arc.broadcast(raw(wallet.spend(coins, fee=FEE + 1)))

    assert (outcome.status, outcome.reason) == (
        BroadcastStatus.MISSING_INPUTS,
        "SEEN_IN_ORPHAN_MEMPOOL",
    )


def test_a_parent_that_arc_lacks_is_open_in_the_plain_format(
    arc: ArcClient, wallet: Wallet
) -> None:
    orphan = wallet.spend([Outpoint("34" * 32, 0)])

    outcome = arc.broadcast(raw(orphan, is_extended=False))

    assert (outcome.status, outcome.http_status) == (BroadcastStatus.UNKNOWN, 460)
    assert outcome.was_refused


def test_a_wrong_signature_and_dust_are_invalid(arc: ArcClient, wallet: Wallet) -> None:
    coins = wallet.fund(outputs=2)
    transaction = wallet.spend([coins[0]])
    # A signature for other outputs.
    output = replace(transaction.outputs[0], satoshis=COIN - FEE - 1)
    forged = replace(transaction, outputs=(output,))
    dust = wallet.spend([coins[1]], fee=COIN)

    assert arc.broadcast(raw(forged)).http_status == 461
    assert arc.broadcast(raw(dust)).http_status == 464
    statuses = {each.status for each in arc.broadcast_many([raw(forged), raw(dust)]).values()}
    assert statuses == {BroadcastStatus.INVALID}


def test_m6_an_answer_lost_after_acceptance_is_unknown_and_a_success_the_next_time(
    arc: ArcClient, chain: ChainControl, wallet: Wallet
) -> None:
    transaction = raw(wallet.spend(wallet.fund()))
    chain.set_faults({"kind": "cut_after", "path": "/arc/v1/tx", "times": 1})

    first, second = arc.broadcast(transaction), arc.broadcast(transaction)

    assert (first.status, first.is_outage) == (BroadcastStatus.UNKNOWN, True)
    assert second.is_success


@pytest.mark.parametrize("kind", ["false_missing_inputs", "accept_then_missing_inputs"])
def test_a_lie_about_inputs_is_no_more_than_a_claim(
    arc: ArcClient, chain: ChainControl, wallet: Wallet, kind: str
) -> None:
    transaction = raw(wallet.spend(wallet.fund()))
    chain.set_faults({"kind": kind, "times": 1})

    assert arc.broadcast(transaction).status is BroadcastStatus.MISSING_INPUTS
    assert arc.broadcast(transaction).is_success


def test_one_dropped_from_the_mempool_goes_out_again(
    arc: ArcClient, chain: ChainControl, wallet: Wallet
) -> None:
    transaction = raw(wallet.spend(wallet.fund()))
    chain.mine(1)
    arc.broadcast(transaction)
    chain.post("evict", {"txids": [transaction.txid]})

    dropped = arc.find_transaction(transaction.txid)

    assert dropped is not None
    assert (dropped.tx_status, dropped.is_mined) == ("REJECTED", False)
    assert arc.broadcast(transaction).is_success


def test_policy_and_health(arc: ArcClient, woc: WhatsOnChainClient) -> None:
    arc.ping()

    assert arc.get_policy().is_standard_format_supported
    assert arc.get_fee_recommendation() == woc.get_fee_recommendation()
