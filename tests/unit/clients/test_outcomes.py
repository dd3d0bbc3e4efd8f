"""Outcomes and errors as callers see them."""

import pytest

from app.clients.kms import KmsAnswerError, KmsRefusedError
from app.clients.outcomes import (
    AuthenticationRefusedError,
    BroadcastOutcome,
    BroadcastStatus,
    ServiceUnavailableError,
    UnexpectedAnswerError,
)
from app.clients.transport import CallPolicy
from app.clients.whatsonchain import UnknownBlockError

SUCCESSES = {BroadcastStatus.ACCEPTED, BroadcastStatus.ALREADY_KNOWN}


@pytest.mark.parametrize("status", list(BroadcastStatus))
def test_m6_already_known_is_success_and_nothing_else_but_accepted(
    status: BroadcastStatus,
) -> None:
    assert BroadcastOutcome(status, "").is_success is (status in SUCCESSES)


@pytest.mark.parametrize(
    "kind", [UnexpectedAnswerError, AuthenticationRefusedError, KmsAnswerError, UnknownBlockError]
)
def test_errors_on_which_nothing_may_change_share_a_base(
    kind: type[ServiceUnavailableError],
) -> None:
    error = kind("some service", "some reason")

    assert isinstance(error, ServiceUnavailableError)
    assert (error.service, error.reason, error.retry_after_seconds) == (
        "some service",
        "some reason",
        None,
    )


def test_a_refused_request_is_not_taken_for_an_outage() -> None:
    assert not issubclass(KmsRefusedError, ServiceUnavailableError)


def test_pauses_double_up_to_a_cap_with_full_jitter() -> None:
    policy = CallPolicy(
        attempts=9,
        timeout_seconds=1,
        budget_seconds=1,
        first_delay_seconds=0.2,
        max_delay_seconds=1.0,
    )

    assert [policy.delay_seconds(n, 1.0) for n in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    assert policy.delay_seconds(2, 0.5) == pytest.approx(0.4)
    assert policy.delay_seconds(3, 0.0) == 0.0


def test_a_jitter_above_one_never_shortens_a_pause() -> None:
    policy = CallPolicy(
        attempts=3,
        timeout_seconds=1,
        budget_seconds=1,
        first_delay_seconds=1.0,
        jitter=(1.0, 1.25),
    )

    assert [policy.delay_seconds(n, 0.0) for n in range(3)] == [1.0, 2.0, 4.0]
    assert policy.delay_seconds(1, 1.0) == 2.5
