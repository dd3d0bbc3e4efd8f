"""Tasks in a real worker: woken, killed, and not missed when they never come."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bson import ObjectId

from app import extensions, logs
from app.domain.states import RecordStatus
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.queue import MARK_SECONDS, Queue, Task, begin, enqueue, wake
from app.services import anchoring
from tests.integration.services.invariants import check_confirmed_once
from tests.integration.services.lab import Lab
from tests.integration.tasks.workers import QUEUES, ROOT, WORKER, Worker, wait_for


@pytest.fixture
def request_id() -> Iterator[str]:
    """The id of the request that the test is part of."""
    token = logs.request_id.set("req-4711")
    yield "req-4711"
    logs.request_id.reset(token)


def is_confirmed(lab: Lab, *records: AuthenticationRecord) -> bool:
    return all(lab.reload(record).status == RecordStatus.CONFIRMED for record in records)


def test_f17_a_worker_anchors_under_the_request_id_of_the_caller(
    lab: Lab, start_worker: Callable[..., Worker], request_id: str
) -> None:
    lab.fill_pool(3)
    worker = start_worker()

    submission = lab.register("NFC-1")
    wait_for(lambda: is_confirmed(lab, submission.record))

    wait_for(lambda: bool(worker.lines("task")))
    line = worker.lines("task")[0]
    assert (line["task"], line["outcome"]) == (Task.ANCHOR_RECORDS.value, "done")
    assert line["task_id"] == submission.job_id
    assert line["request_id"] == request_id
    [settled] = worker.lines("chain.settled")
    assert settled["request_ids"] == [request_id]
    assert settled["txid"] == lab.reload(submission.record).txid
    check_confirmed_once(lab, [submission.record])


def waiting_messages() -> int:
    return int(extensions.get().redis.llen(Queue.ANCHORING.value))


def test_one_message_takes_along_all_that_was_accepted_before_it_is_read(
    lab: Lab, start_worker: Callable[..., Worker]
) -> None:
    lab.fill_pool(10)
    submissions = [lab.register(f"NFC-{number}") for number in range(10)]
    records = [submission.record for submission in submissions]
    assert waiting_messages() == 1
    assert [s.job_id for s in submissions] == [str(record.id) for record in records]

    worker = start_worker()
    wait_for(lambda: is_confirmed(lab, *records))
    wait_for(lambda: len(worker.lines("task")) >= 1)

    assert len(worker.lines("chain.settled")) == 10
    assert len(worker.lines("task")) == 1
    check_confirmed_once(lab, records)


def test_a_pass_that_is_full_wakes_another_for_the_rest(
    lab: Lab, start_worker: Callable[..., Worker]
) -> None:
    lab.fill_pool(10)
    records = lab.register_many(10)
    assert waiting_messages() == 1

    worker = start_worker(ANCHOR_BATCH_SIZE="4")
    wait_for(lambda: is_confirmed(lab, *records))
    wait_for(lambda: len(worker.lines("task")) >= 3)

    check_confirmed_once(lab, records)


def test_what_is_accepted_while_a_task_looks_gets_a_message_of_its_own(lab: Lab) -> None:
    wake(Task.ANCHOR_RECORDS)
    wake(Task.ANCHOR_RECORDS)
    assert waiting_messages() == 1

    begin(Task.ANCHOR_RECORDS)
    wake(Task.ANCHOR_RECORDS)

    assert waiting_messages() == 2


def test_a_message_that_could_not_be_sent_keeps_no_other_back(lab: Lab) -> None:
    redis_client = extensions.get().redis
    redis_client.set(Queue.ANCHORING.value, "no list")
    assert wake(Task.ANCHOR_RECORDS) is None

    redis_client.delete(Queue.ANCHORING.value)

    assert wake(Task.ANCHOR_RECORDS, task_id="a") == "a"
    assert waiting_messages() == 1


def test_a_message_that_was_lost_keeps_others_back_for_seconds_only(lab: Lab) -> None:
    wake(Task.ANCHOR_RECORDS)
    redis_client = extensions.get().redis
    redis_client.delete(Queue.ANCHORING.value)

    [mark] = redis_client.keys("patchproof:awake:*")

    assert 0 < redis_client.ttl(mark) <= MARK_SECONDS


def test_p1_no_wake_up_is_lost_while_records_come_and_tasks_run(
    lab: Lab, start_worker: Callable[..., Worker]
) -> None:
    """Without a sweeper, so a record without a message would wait for ever."""
    lab.fill_pool(90)
    start_worker(ANCHOR_BATCH_SIZE="7")

    with ThreadPoolExecutor(4) as pool:
        submissions = list(pool.map(lab.register, [f"NFC-{number}" for number in range(80)]))
    records = [submission.record for submission in submissions]

    wait_for(lambda: is_confirmed(lab, *records))
    check_confirmed_once(lab, records)


def test_f18_every_periodic_task_runs_in_the_worker(
    lab: Lab, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker()

    for task in Task:
        enqueue(task, **({"code_id": str(ObjectId())} if task is Task.SEND_CODE else {}))
    wait_for(lambda: len(worker.lines("task")) >= len(Task))

    assert {line["task"]: line["outcome"] for line in worker.lines("task")} == {
        task.value: "done" for task in Task
    }


def test_without_a_broker_the_answer_is_quick_and_the_record_is_swept_up(
    lab: Lab, start_worker: Callable[..., Worker]
) -> None:
    lab.fill_pool(1)
    lab.devnet.stop("redis")
    try:
        started = time.monotonic()
        submission = lab.register("NFC-1")
        taken = time.monotonic() - started
    finally:
        lab.devnet.start("redis")

    assert submission.job_id is None
    assert taken < 1.0
    assert lab.reload(submission.record).status == RecordStatus.PENDING
    start_worker()
    enqueue(Task.SWEEP)
    wait_for(lambda: is_confirmed(lab, submission.record))
    check_confirmed_once(lab, [submission.record])


def test_o1_a_broker_that_hangs_does_not_hang_the_caller(lab: Lab) -> None:
    lab.configure(REDIS_TIMEOUT_MS="500")
    pid = int((lab.devnet.directory / "run" / "redis").read_text().split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        job_id = enqueue(Task.SWEEP)
        taken = time.monotonic() - started
    finally:
        os.kill(pid, signal.SIGCONT)

    assert job_id is None
    assert taken < 3.0
    assert enqueue(Task.SWEEP) is not None


def test_a_full_broker_is_a_broker_that_is_away(lab: Lab) -> None:
    extensions.get().redis.config_set("maxmemory", "1")
    try:
        assert enqueue(Task.SWEEP) is None
    finally:
        extensions.get().redis.config_set("maxmemory", "0")


@pytest.mark.parametrize("end", [Worker.kill, Worker.kill_child])
def test_m1_a_worker_killed_in_the_middle_costs_time_and_nothing_else(
    lab: Lab, start_worker: Callable[..., Worker], end: Callable[[Worker], None]
) -> None:
    lab.fill_pool(3)
    before = lab.accepted_count()
    lab.set_faults({"kind": "delay", "seconds": 30, "path": "/tx/raw", "times": 1})
    records = lab.register_many(3)
    worker = start_worker(WOC_TIMEOUT_MS="60000", CLAIM_LEASE_SECONDS="1")
    wait_for(lambda: ChainTransaction.objects(status="committed").count() == 3)

    end(worker)
    lab.clear_faults()
    if end is Worker.kill:
        start_worker(CLAIM_LEASE_SECONDS="1")
    lab.pass_time()
    enqueue(Task.SWEEP)
    wait_for(lambda: is_confirmed(lab, *records))

    assert lab.accepted_count() <= before + 3
    check_confirmed_once(lab, records)


def test_a_worker_and_this_process_anchor_side_by_side(
    lab: Lab, start_worker: Callable[..., Worker]
) -> None:
    lab.fill_pool(20)
    start_worker()

    records = lab.register_many(12)
    anchoring.anchor_due(100)
    wait_for(lambda: is_confirmed(lab, *records))

    check_confirmed_once(lab, records)


def test_o3_a_worker_without_its_settings_says_what_is_missing_and_ends(
    lab: Lab, tmp_path: Path
) -> None:
    environment = {"PATH": os.environ["PATH"], "MONGODB_URI": lab.env["MONGODB_URI"]}

    done = subprocess.run(
        [*WORKER, *QUEUES],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    for name in ("API_KEY", "REDIS_URL", "KMS_SIGN_URL", "ISSUER_PUBLIC_KEYS"):
        assert name in done.stderr
