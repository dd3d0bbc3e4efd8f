from collections.abc import Mapping
from itertools import product

import pytest

from app.domain import states
from app.domain.states import (
    CLAIM_MOVES,
    RECORD_MOVES,
    TRANSACTION_MOVES,
    UTXO_MOVES,
    ClaimEvent,
    ClaimStatus,
    Move,
    RecordEvent,
    RecordStatus,
    TransactionEvent,
    TransactionStatus,
    UtxoEvent,
    UtxoStatus,
)

MACHINES = [
    (RECORD_MOVES, RecordEvent, RecordStatus),
    (TRANSACTION_MOVES, TransactionEvent, TransactionStatus),
    (UTXO_MOVES, UtxoEvent, UtxoStatus),
    (CLAIM_MOVES, ClaimEvent, ClaimStatus),
]


def reachable(moves: Mapping[str, Move], start: str) -> set[str]:
    """Every state that events lead to from here."""
    seen = {start}
    while True:
        more = {m.target for m in moves.values() if seen & set(m.sources)} - seen
        if not more:
            return seen
        seen |= more


def leaving(moves: Mapping[str, Move], status: str) -> set[str]:
    """The events that can take something out of a state to another one."""
    return {e for e, m in moves.items() if status in m.sources and m.target != status}


@pytest.mark.parametrize(("moves", "events", "statuses"), MACHINES)
def test_every_event_has_a_move_between_known_states(moves, events, statuses) -> None:
    assert set(moves) == set(events)
    for move in moves.values():
        assert move.sources
        assert {move.target, *move.sources} <= set(statuses)


@pytest.mark.parametrize(
    ("moves", "start", "statuses"),
    [
        (RECORD_MOVES, RecordStatus.PENDING, RecordStatus),
        (TRANSACTION_MOVES, TransactionStatus.SIGNED, TransactionStatus),
        (UTXO_MOVES, UtxoStatus.UNCONFIRMED, UtxoStatus),
        (CLAIM_MOVES, ClaimStatus.PENDING, ClaimStatus),
    ],
)
def test_every_state_can_be_reached(moves, start, statuses) -> None:
    assert reachable(moves, start) == set(statuses)


def test_d2_a_record_that_has_ended_stays_as_it_is_unless_its_transaction_lost() -> None:
    assert leaving(RECORD_MOVES, RecordStatus.FAILED) == set()
    assert leaving(RECORD_MOVES, RecordStatus.CONFIRMED) == {RecordEvent.CONTRADICTED}


def test_m9_a_dead_transaction_stays_dead_and_a_final_one_final() -> None:
    for status in (*states.TRANSACTION_DEAD, TransactionStatus.FINAL):
        assert leaving(TRANSACTION_MOVES, status) == set()


def test_p2_what_the_network_has_never_comes_back_to_be_sent_or_undone() -> None:
    """Unless a block is shown that excludes it."""
    end = {TransactionStatus.CONTRADICTED}
    for status in states.TRANSACTION_ON_NETWORK:
        assert reachable(TRANSACTION_MOVES, status) <= states.TRANSACTION_ON_NETWORK | end
    for status in (TransactionStatus.MINED, TransactionStatus.FINAL):
        assert TransactionEvent.CONTRADICTED not in leaving(TRANSACTION_MOVES, status)


def test_committing_and_abandoning_exclude_each_other() -> None:
    both = (TransactionEvent.COMMITTED, TransactionEvent.ABANDONED)
    assert [TRANSACTION_MOVES[event].sources for event in both] == [
        (TransactionStatus.SIGNED,),
        (TransactionStatus.SIGNED,),
    ]
    assert leaving(TRANSACTION_MOVES, TransactionStatus.SIGNED) == set(both)


def test_accepting_and_rejecting_exclude_each_other() -> None:
    assert leaving(TRANSACTION_MOVES, TransactionStatus.COMMITTED) == {
        TransactionEvent.ACCEPTED,
        TransactionEvent.REJECTED,
        TransactionEvent.CONTRADICTED,
    }


def test_m3_only_a_locked_output_is_held_released_or_spent_by_us() -> None:
    for event in (UtxoEvent.HELD, UtxoEvent.RELEASED, UtxoEvent.SPENT):
        assert UTXO_MOVES[event].sources == (UtxoStatus.LOCKED,)


def test_m2_a_spent_output_is_not_lockable_at_once() -> None:
    assert UTXO_MOVES[UtxoEvent.LOCKED].sources == (UtxoStatus.AVAILABLE,)
    targets = {m.target for m in UTXO_MOVES.values() if UtxoStatus.SPENT in m.sources}
    assert UtxoStatus.AVAILABLE not in targets


def test_f30_an_output_becomes_available_only_by_being_confirmed_or_released() -> None:
    to_available = {e for e, m in UTXO_MOVES.items() if m.target == UtxoStatus.AVAILABLE}
    assert to_available == {UtxoEvent.CONFIRMED, UtxoEvent.RELEASED}


def test_p3_an_output_that_will_never_exist_stays_struck_out() -> None:
    assert leaving(UTXO_MOVES, UtxoStatus.VOID) == set()


def test_alive_and_dead_are_all_there_is() -> None:
    assert set(TransactionStatus) == states.TRANSACTION_LIVE | states.TRANSACTION_DEAD
    assert not states.TRANSACTION_LIVE & states.TRANSACTION_DEAD
    assert states.TRANSACTION_ON_NETWORK < states.TRANSACTION_LIVE


def test_no_two_events_of_a_machine_are_the_same_change() -> None:
    for moves, events, _ in MACHINES:
        for one, other in product(events, events):
            assert one == other or moves[one] != moves[other]


def test_m10_a_claim_that_has_ended_stays_as_it_is() -> None:
    for status in states.CLAIM_TERMINAL:
        assert leaving(CLAIM_MOVES, status) == set()


def test_m10_approving_and_expiring_exclude_each_other() -> None:
    assert leaving(CLAIM_MOVES, ClaimStatus.PENDING) == {ClaimEvent.APPROVED, ClaimEvent.EXPIRED}
    assert reachable(CLAIM_MOVES, ClaimStatus.APPROVED) == {
        ClaimStatus.APPROVED,
        ClaimStatus.CONFIRMED,
        ClaimStatus.FAILED,
    }
