"""WhatsOnChain's client against the devnet chain, in good and in bad weather."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.bitcoin.merkle import MerklePath
from app.bitcoin.transactions import Outpoint, Transaction
from app.clients.chain_types import OUTPUT_UNKNOWN, UNSPENT, ChainStatus, Spend
from app.clients.outcomes import (
    BroadcastStatus,
    ServiceUnavailableError,
    UnexpectedAnswerError,
)
from app.clients.whatsonchain import UnknownBlockError, WhatsOnChainClient
from tests.integration.clients.conftest import ChainControl
from tests.integration.clients.wallet import COIN, FEE, Wallet

NEVER_SEEN = "00" * 31 + "01"


@pytest.fixture
def client(chain: ChainControl, sleep: Callable[[float], None]) -> Iterator[WhatsOnChainClient]:
    """Yield a client of the devnet that never really sleeps."""
    made = WhatsOnChainClient(
        chain.woc_url, network_name="regtest", timeout_seconds=5.0, sleep=sleep
    )
    yield made
    made.close()


def send(client: WhatsOnChainClient, transaction: Transaction) -> BroadcastStatus:
    return client.broadcast(transaction.to_hex(), transaction.txid).status


def test_the_devnet_greets_and_tells_its_tip(
    client: WhatsOnChainClient, chain: ChainControl
) -> None:
    client.ping()

    info = client.get_chain_info()

    assert info.tip_height == chain.get("health")["height"]
    assert client.get_header(info.tip_height).block_hash == info.tip_hash
    assert client.get_header(info.tip_hash).height == info.tip_height
    assert client.get_fee_recommendation() == 50


def test_a_client_of_the_main_network_refuses_the_devnet(chain: ChainControl) -> None:
    client = WhatsOnChainClient(chain.woc_url, network_name="main")

    with pytest.raises(UnexpectedAnswerError, match="on chain 'test'"):
        client.get_chain_info()
    client.close()


def test_a_transaction_from_broadcast_to_proof(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    transaction = wallet.spend(wallet.fund())
    assert client.list_transaction_statuses([transaction.txid]) == {
        transaction.txid: ChainStatus("unknown")
    }

    assert send(client, transaction) is BroadcastStatus.ACCEPTED
    assert client.list_transaction_statuses([transaction.txid]) == {
        transaction.txid: ChainStatus("mempool")
    }
    assert client.find_proof(transaction.txid) is None
    assert client.find_raw_transaction(transaction.txid) == transaction.to_hex()

    block_hash = chain.mine(1)["blocks"][0]
    chain.mine(2)
    status = client.list_transaction_statuses([transaction.txid])[transaction.txid]
    header = client.get_header(block_hash)
    proof = client.find_proof(transaction.txid)

    assert status == ChainStatus("mined", block_hash, header.height, 3)
    assert proof is not None
    assert proof.block_hash == block_hash
    path = MerklePath.from_tsc(header.height, proof.txid, proof.index, proof.nodes)
    assert path.root(transaction.txid) == header.header.merkle_root


def test_m6_the_same_bytes_again_are_already_known(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    transaction = wallet.spend(wallet.fund())

    assert send(client, transaction) is BroadcastStatus.ACCEPTED
    assert send(client, transaction) is BroadcastStatus.ALREADY_KNOWN
    chain.mine()
    assert send(client, transaction) is BroadcastStatus.ALREADY_KNOWN


def test_m6_an_answer_lost_after_acceptance_is_found_out_by_the_second_try(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    transaction = wallet.spend(wallet.fund())
    chain.set_faults({"kind": "cut_after", "path": "/tx/raw", "times": 1})
    accepted = chain.get("stats")["accepted"]

    assert send(client, transaction) is BroadcastStatus.UNKNOWN
    assert send(client, transaction) is BroadcastStatus.ALREADY_KNOWN
    assert chain.get("stats")["accepted"] == accepted + 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "cut_before"},
        {"kind": "status", "status": 429, "retry_after": 3},
        {"kind": "status", "status": 503},
        {"kind": "garbage"},
        {"kind": "delay", "seconds": 2.0},
    ],
)
def test_m6_a_broadcast_in_bad_weather_is_unknown_and_goes_through_later(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet, fault: dict[str, object]
) -> None:
    hasty = WhatsOnChainClient(chain.woc_url, network_name="test", timeout_seconds=1.0)
    transaction = wallet.spend(wallet.fund())
    chain.set_faults({**fault, "path": "/tx/raw", "times": 1})

    outcome = hasty.broadcast(transaction.to_hex(), transaction.txid)

    assert outcome.status is BroadcastStatus.UNKNOWN
    assert outcome.retry_after_seconds == fault.get("retry_after")
    assert client.broadcast(transaction.to_hex(), transaction.txid).is_success
    hasty.close()


def test_a_claim_of_missing_inputs_is_passed_on_as_a_claim(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    transaction = wallet.spend(wallet.fund())
    chain.set_faults({"kind": "accept_then_missing_inputs", "times": 1})

    assert send(client, transaction) is BroadcastStatus.MISSING_INPUTS
    assert client.list_transaction_statuses([transaction.txid])[transaction.txid].kind == "mempool"


def test_refusals_of_the_chain_are_sorted(client: WhatsOnChainClient, wallet: Wallet) -> None:
    first, second, third = wallet.fund(3)
    signed = wallet.spend([second])
    forged = signed.with_unlocking_scripts(
        [wallet.spend([third]).inputs[0].unlocking_script],
    )

    assert send(client, wallet.spend([first])) is BroadcastStatus.ACCEPTED
    assert send(client, wallet.spend([first], fee=FEE + 1)) is BroadcastStatus.CONFLICT
    assert send(client, wallet.spend([Outpoint(NEVER_SEEN, 0)])) is BroadcastStatus.MISSING_INPUTS
    assert send(client, wallet.spend([second], fee=0)) is BroadcastStatus.FEE_TOO_LOW
    assert send(client, wallet.spend([second], fee=-COIN)) is BroadcastStatus.INVALID
    assert send(client, forged) is BroadcastStatus.INVALID
    assert client.broadcast("0100", signed.txid).status is BroadcastStatus.INVALID
    assert send(client, signed) is BroadcastStatus.ACCEPTED


def test_unspent_outputs_are_listed_with_their_state(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    assert client.list_unspent(wallet.address) == []
    spent, kept = wallet.fund(2)
    height = chain.mine()["height"]
    transaction = wallet.spend([spent])
    send(client, transaction)

    listed = {Outpoint(o.txid, o.vout): o for o in client.list_unspent(wallet.address)}

    assert set(listed) == {spent, kept, Outpoint(transaction.txid, 0)}
    assert (listed[kept].height, listed[kept].is_spent_in_mempool) == (height, False)
    assert (listed[spent].height, listed[spent].is_spent_in_mempool) == (height, True)
    change = listed[Outpoint(transaction.txid, 0)]
    assert (change.height, change.satoshis) == (None, COIN - FEE)
    assert change.locking_script == transaction.outputs[0].locking_script


def test_m7_all_pages_of_more_than_a_thousand_outputs_are_read(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    outpoints = wallet.fund(1205, satoshis=1000) + wallet.fund(805, satoshis=1000)
    chain.mine()
    outpoints += wallet.fund(15, satoshis=1000)

    listed = client.list_unspent(wallet.address)

    assert len(listed) == len(outpoints) == 2025
    assert {Outpoint(output.txid, output.vout) for output in listed} == set(outpoints)
    assert sum(output.satoshis for output in listed) == 2_025_000


def test_m7_a_page_that_fails_fails_the_list(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    wallet.fund(3)
    for fault in ({"kind": "garbage"}, {"kind": "status", "status": 500}, {"kind": "cut_before"}):
        chain.set_faults({**fault, "path": "/unspent/all"})
        with pytest.raises(ServiceUnavailableError):
            client.list_unspent(wallet.address)


def test_m7_an_output_hidden_from_the_list_is_shown_unspent_when_asked_for(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    hidden, shown = wallet.fund(2)
    chain.set_faults({"kind": "hide_outputs", "outpoints": [str(hidden)]})

    assert [Outpoint(o.txid, o.vout) for o in client.list_unspent(wallet.address)] == [shown]
    assert client.find_spend(hidden.txid, hidden.vout) is UNSPENT
    assert client.find_spends([hidden, shown]) == {hidden: UNSPENT, shown: UNSPENT}


def test_spends_are_found_one_by_one_and_in_bulk(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    coins = wallet.fund(46)
    confirmed, unconfirmed = wallet.spend(coins[:20]), wallet.spend(coins[20:45])
    send(client, confirmed)
    chain.mine()
    send(client, unconfirmed)
    nowhere = Outpoint(NEVER_SEEN, 0)

    spends = client.find_spends([*coins, nowhere])

    expected = [Spend(confirmed.txid, vin, True) for vin in range(20)]
    expected += [Spend(unconfirmed.txid, vin, False) for vin in range(25)]
    assert spends == {
        **dict(zip(coins[:45], expected, strict=True)),
        coins[45]: UNSPENT,
        nowhere: OUTPUT_UNKNOWN,
    }
    assert client.find_spend(coins[21].txid, coins[21].vout) == expected[21]
    assert client.find_spend(coins[45].txid, coins[45].vout) is UNSPENT
    assert client.find_spend(NEVER_SEEN, 0) is OUTPUT_UNKNOWN


def test_what_is_not_there_is_not_found(client: WhatsOnChainClient, chain: ChainControl) -> None:
    assert client.find_raw_transaction(NEVER_SEEN) is None
    assert client.find_proof(NEVER_SEEN) is None
    with pytest.raises(UnknownBlockError):
        client.get_header(chain.get("health")["height"] + 1)
    with pytest.raises(UnknownBlockError):
        client.get_header("ff" * 32)


def test_a_false_merkle_path_is_handed_on_for_the_caller_to_fold(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    transaction = wallet.spend(wallet.fund())
    send(client, transaction)
    block_hash = chain.mine()["blocks"][0]
    header = client.get_header(block_hash)
    chain.set_faults({"kind": "bad_merkle_path"})

    proof = client.find_proof(transaction.txid)

    assert proof is not None
    path = MerklePath.from_tsc(header.height, proof.txid, proof.index, proof.nodes)
    assert path.root(transaction.txid) != header.header.merkle_root


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 429}, {"kind": "status", "status": 502}, {"kind": "cut_before"}],
)
def test_lookups_outlast_two_failures_with_jittered_pauses(
    client: WhatsOnChainClient,
    chain: ChainControl,
    pauses: list[float],
    fault: dict[str, object],
) -> None:
    chain.set_faults({**fault, "path": "/chain/info", "times": 2})

    client.get_chain_info()

    assert len(pauses) == 2
    assert 0.0 <= pauses[0] <= 0.2
    assert 0.0 <= pauses[1] <= 0.4


def test_a_lookup_slower_than_its_time_is_an_outage(chain: ChainControl) -> None:
    client = WhatsOnChainClient(chain.woc_url, network_name="test", timeout_seconds=0.3, retries=1)
    chain.set_faults({"kind": "delay", "seconds": 2.5, "path": "/chain/info"})
    started = time.monotonic()

    with pytest.raises(ServiceUnavailableError, match="ReadTimeout"):
        client.get_chain_info()

    assert time.monotonic() - started < 2.0
    client.close()


def test_threads_share_one_client(
    client: WhatsOnChainClient, chain: ChainControl, wallet: Wallet
) -> None:
    transactions = [wallet.spend([coin]) for coin in wallet.fund(24)]

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda transaction: send(client, transaction), transactions))

    assert statuses == [BroadcastStatus.ACCEPTED] * 24
    told = client.list_transaction_statuses(transaction.txid for transaction in transactions)
    assert {status.kind for status in told.values()} == {"mempool"}
    assert len(told) == 24
