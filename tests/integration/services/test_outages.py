"""No coins, no signer, no broker: records wait where everybody sees it, or the caller is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.domain.states import RecordStatus, UtxoStatus
from app.errors import PoolEmptyError, SignerUnavailableError
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, pool_split
from tests.integration.services.invariants import check_at_rest, check_confirmed_once
from tests.integration.services.lab import Lab, Owner


@pytest.fixture
def no_signer(lab: Lab) -> Iterator[None]:
    """Kills the signer's process, and starts it again at the end."""
    lab.devnet.kill("signer")
    yield
    lab.devnet.start("signer")


def assert_nothing_is_half_done() -> None:
    assert Utxo.objects(status=UtxoStatus.LOCKED.value).count() == 0
    assert ChainTransaction.objects.count() == 0
    assert AuthenticationRecord.objects(transaction_id__ne=None).count() == 0


def test_without_coins_a_record_waits_visibly_and_is_anchored_when_they_arrive(lab: Lab) -> None:
    record = lab.register("NFC-1").record

    result = anchoring.anchor_due(100)

    assert isinstance(result.waiting[record.id], PoolEmptyError)
    record = lab.reload(record)
    assert record.status == RecordStatus.PENDING
    assert "pool" in record.reason
    assert_nothing_is_half_done()
    lab.fill_pool(1)
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [record])


def test_too_few_coins_serve_as_many_records_as_they_can(lab: Lab) -> None:
    lab.fill_pool(2)
    records = lab.register_many(5)

    result = anchoring.anchor_due(100)

    assert (result.settled, len(result.waiting)) == (2, 3)
    lab.sweep_until_quiet()
    check_confirmed_once(lab, records)


def test_without_coins_a_synchronous_caller_is_told_and_the_uid_is_free(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")

    with pytest.raises(PoolEmptyError) as refused:
        lab.register("NFC-1")

    assert refused.value.retry_after_seconds == 30
    failed = AuthenticationRecord.objects.get()
    assert (failed.status, failed.active_key) == (RecordStatus.FAILED, None)
    assert_nothing_is_half_done()
    lab.fill_pool(1)
    assert lab.register("NFC-1").record.status == RecordStatus.CONFIRMED
    check_at_rest(lab)


def test_coins_that_are_too_small_are_gathered(lab: Lab) -> None:
    lab.fill_pool(6, satoshis=25)
    [record] = lab.register_many(1)

    assert anchoring.anchor_due(100).settled == 1

    assert len(lab.transaction_of(record).inputs) > 1
    check_confirmed_once(lab, [record])


def test_coins_that_don_t_suffice_together_stay_free(lab: Lab) -> None:
    lab.fill_pool(2, satoshis=20)
    record = lab.register("NFC-1").record

    assert isinstance(anchoring.anchor_due(100).waiting[record.id], PoolEmptyError)

    assert_nothing_is_half_done()


@pytest.mark.usefixtures("no_signer")
def test_without_a_signer_a_record_waits_visibly_and_is_anchored_when_it_is_back(lab: Lab) -> None:
    lab.fill_pool(2)
    records = lab.register_many(2)

    result = anchoring.anchor_due(100)

    assert {type(error) for error in result.waiting.values()} == {SignerUnavailableError}
    assert all("signer" in lab.reload(record).reason for record in records)
    assert_nothing_is_half_done()
    lab.devnet.start("signer")
    lab.sweep_until_quiet()
    check_confirmed_once(lab, records)


@pytest.mark.usefixtures("no_signer")
def test_without_a_signer_a_synchronous_caller_is_told_and_the_uid_is_free(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(1)

    with pytest.raises(SignerUnavailableError) as refused:
        lab.register("NFC-1")

    assert refused.value.retry_after_seconds == 30
    assert_nothing_is_half_done()
    lab.devnet.start("signer")
    assert lab.register("NFC-1").record.status == RecordStatus.CONFIRMED
    check_at_rest(lab)


@pytest.mark.usefixtures("no_signer")
def test_without_a_signer_a_split_changes_nothing(lab: Lab) -> None:
    lab.configure(UTXO_SPLIT_SIZE_SATS="2000")
    lab.fill_pool(1, satoshis=20_000)

    with pytest.raises(SignerUnavailableError):
        pool_split.split(target=6)

    assert_nothing_is_half_done()


@pytest.mark.usefixtures("no_signer")
def test_a_synchronous_transfer_without_a_signer_can_be_made_again(lab: Lab) -> None:
    owner, buyer = Owner(), Owner()
    lab.devnet.start("signer")
    lab.fill_pool(2)
    head = lab.registered("NFC-1", owner).head
    lab.configure(JOBS_ASYNC="0")
    lab.devnet.kill("signer")

    with pytest.raises(SignerUnavailableError):
        lab.transfer(head, owner, buyer, "NFC-1")

    lab.devnet.start("signer")
    assert lab.transfer(head, owner, buyer, "NFC-1").record.status == RecordStatus.CONFIRMED
    check_at_rest(lab)
