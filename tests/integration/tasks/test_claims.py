"""Claims reach their end in a real worker, whoever has died before."""

from __future__ import annotations

from collections.abc import Callable

from app.domain.states import ClaimStatus
from app.models.claim_intent import ClaimIntent
from app.queue import Task, enqueue
from tests.integration.services.crashes import CrashPoint, crashing
from tests.integration.services.lab import Lab, Owner
from tests.integration.services.tills import Shop, approve, claimed, stored
from tests.integration.tasks.workers import Worker, wait_for


def test_p1_a_worker_ends_claims_and_mends_those_without_a_record(
    lab: Lab, start_worker: Callable[..., Worker]
) -> None:
    Shop(lab).open(JOBS_ASYNC="1")
    orphan, forgotten = claimed(Owner()), claimed(Owner())
    with crashing(CrashPoint(ClaimIntent, "approve")):
        approve(orphan)
    lab.pass_time()
    worker = start_worker()

    enqueue(Task.SETTLE_CLAIMS)

    wait_for(lambda: bool(worker.lines("claims.settled")))
    [first] = worker.lines("claims.settled")
    assert (first["expired"], first["mended"]) == (1, 1)
    assert stored(forgotten).status == ClaimStatus.EXPIRED
    enqueue(Task.SWEEP)
    wait_for(lambda: len(worker.lines("chain.settled")) == 1)
    lab.pass_time()
    enqueue(Task.SETTLE_CLAIMS)
    wait_for(lambda: stored(orphan).status == ClaimStatus.CONFIRMED)
