"""Codes sent by real workers: woken, killed in the middle, and not missed when they never come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from app import extensions
from app.domain.states import CodeStatus
from app.models.verification_code import VerificationCode
from app.queue import Task, enqueue
from app.services import codes, tokens
from devnet.supervisor import Devnet
from tests.integration.mail.lab import ADDRESS, MailLab
from tests.integration.mail.servers import Conversation, crooked_server
from tests.integration.tasks.workers import Worker, wait_for


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[MailLab]:
    """Instead of the one that pays for transactions: mail needs no chain."""
    opened = MailLab(clean_devnet)
    opened.configure()
    if extensions.missing_indexes():
        extensions.ensure_indexes()
    yield opened
    opened.close()


def test_a_worker_mails_a_code_without_saying_what_or_to_whom(
    lab: MailLab, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker(LOG_LEVEL="debug")

    codes.request(ADDRESS)
    wait_for(lambda: lab.row().status == CodeStatus.SENT)

    [code] = lab.codes_mailed()
    wait_for(lambda: bool(worker.lines("task")))
    said = worker.log_path.read_text()
    assert code not in said
    assert ADDRESS not in said
    assert worker.lines("mail.sent")[0]["code_id"] == str(lab.row().id)
    assert tokens.verify(codes.submit(ADDRESS, code))["sub"] == ADDRESS


def test_p3_no_message_is_left_that_could_tell(
    lab: MailLab, start_worker: Callable[..., Worker]
) -> None:
    start_worker()
    codes.request(ADDRESS)
    wait_for(lambda: lab.row().status == CodeStatus.SENT)

    [code] = lab.codes_mailed()
    assert code not in lab.stored_anywhere()
    assert lab.stored_anywhere().count(ADDRESS) == 1


@pytest.mark.parametrize("end", [Worker.kill, Worker.kill_child])
def test_a_worker_killed_in_the_middle_of_sending_costs_time_and_nothing_else(
    lab: MailLab, start_worker: Callable[..., Worker], end: Callable[[Worker], None]
) -> None:
    reached, over = threading.Event(), threading.Event()

    def hang(with_client: Conversation) -> None:
        with_client.take_recipient()
        reached.set()
        over.wait(60)

    with crooked_server(hang) as port:
        worker = start_worker(SMTP_PORT=str(port), SMTP_TIMEOUT_MS="60000")
        codes.request(ADDRESS)
        assert reached.wait(60)
        died = lab.row()
        end(worker)
        over.set()
        if end is Worker.kill_child:
            worker.stop()

    assert died.status == CodeStatus.SENDING
    assert died.code_hash is not None
    make_due(died)
    start_worker()
    enqueue(Task.SWEEP_MAILS)
    wait_for(lambda: lab.row().status == CodeStatus.SENT)
    [code] = lab.codes_mailed()
    assert lab.row().turn_id != died.turn_id
    assert codes.submit(ADDRESS, code)


def make_due(code: VerificationCode) -> None:
    """Lets the lease of whoever is sending it run out."""
    current = extensions.get()
    current.database[current.settings.db_name]["verification_codes"].update_one(
        {"_id": code.id}, {"$set": {"next_attempt_at": code.requested_at - timedelta(seconds=1)}}
    )


def test_without_a_broker_a_request_is_quick_and_swept_up(
    lab: MailLab, start_worker: Callable[..., Worker]
) -> None:
    lab.devnet.stop("redis")
    try:
        codes.request(ADDRESS)
    finally:
        lab.devnet.start("redis")
    assert lab.row().status == CodeStatus.REQUESTED

    start_worker()
    enqueue(Task.SWEEP_MAILS)
    wait_for(lambda: lab.row().status == CodeStatus.SENT)

    assert codes.submit(ADDRESS, lab.codes_mailed()[0])
