"""Queue and task names, spelled once, and `enqueue`: the only way to start a task.

A task is a wake-up. What has to be done is in the database, and the sweeper finds it there, so a
lost message costs time and nothing else.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app import extensions, logs
from app.config import Settings

logger = logging.getLogger(__name__)

HARD_TIME_LIMIT_SECONDS = 300
# How long a message that never arrives may keep others back; the sweeper comes soon after.
MARK_SECONDS = 5
REQUEST_ID_HEADER = "patchproof_request_id"


class Queue(StrEnum):
    ANCHORING = "anchoring"
    MAINTENANCE = "maintenance"
    MAIL = "mail"


class Task(StrEnum):
    ANCHOR_RECORDS = "anchor-records"
    SWEEP = "sweep-unfinished"
    REAP_LOCKS = "reap-locks"
    TRACK_TRANSACTIONS = "track-transactions"
    SYNC_POOL = "sync-pool"
    SPLIT_POOL = "split-pool"
    SWEEP_DUST = "sweep-dust"
    REFRESH_FEE = "refresh-fee"
    SETTLE_CLAIMS = "settle-claims"
    SEND_CODE = "send-code"
    SWEEP_MAILS = "sweep-mails"
    SWEEP_ERASURES = "sweep-erasures"
    CHECK_INVARIANTS = "check-invariants"


QUEUE_OF_TASK: dict[Task, Queue] = {
    Task.ANCHOR_RECORDS: Queue.ANCHORING,
    Task.SWEEP: Queue.MAINTENANCE,
    Task.REAP_LOCKS: Queue.MAINTENANCE,
    Task.TRACK_TRANSACTIONS: Queue.MAINTENANCE,
    Task.SYNC_POOL: Queue.MAINTENANCE,
    Task.SPLIT_POOL: Queue.MAINTENANCE,
    Task.SWEEP_DUST: Queue.MAINTENANCE,
    Task.REFRESH_FEE: Queue.MAINTENANCE,
    Task.SETTLE_CLAIMS: Queue.MAINTENANCE,
    Task.SWEEP_ERASURES: Queue.MAINTENANCE,
    Task.CHECK_INVARIANTS: Queue.MAINTENANCE,
    Task.SEND_CODE: Queue.MAIL,
    Task.SWEEP_MAILS: Queue.MAIL,
}

_producers: dict[int, Celery] = {}


def enqueue(task: Task, *, task_id: str | None = None, **arguments: Any) -> str | None:
    """Starts a task; answers its id, `task_id` where given, or None when the broker is away.

    Never raises for the broker: what the task would do is already durable.
    """
    try:
        result = _producer().send_task(
            task.value,
            kwargs=arguments,
            task_id=task_id,
            queue=QUEUE_OF_TASK[task].value,
            headers={REQUEST_ID_HEADER: logs.request_id.get()},
            retry=False,
            ignore_result=True,
        )
    except OperationalError as error:
        _log_away(task, error)
        return None
    return str(result.id)


def wake(task: Task, *, task_id: str | None = None) -> str | None:
    """Has a task look for what waits, unless one that has not begun to look will do so anyway.

    Whatever it is to find is durable before: the task calls `begin` and looks only then, so either
    it sees it, or the mark is gone by now and another message goes out. Answers as `enqueue` does,
    also where no message was needed. A message that is lost keeps others back for a few seconds.
    """
    redis_client = extensions.get().redis
    try:
        is_first = redis_client.set(_mark(task), 1, nx=True, ex=MARK_SECONDS)
    except RedisError as error:
        _log_away(task, error)
        return None
    if not is_first:
        return task_id
    started = enqueue(task, task_id=task_id)
    if started is None:
        begin(task)
    return started


def begin(task: Task) -> None:
    """Tells that a task looks from here on: what comes later needs a message of its own."""
    try:
        extensions.get().redis.delete(_mark(task))
    except RedisError as error:
        # It ends by itself.
        _log_away(task, error)


def _mark(task: Task) -> str:
    return f"patchproof:awake:{task.value}"


def _log_away(task: Task, error: Exception) -> None:
    logger.warning(
        "the broker is away, the sweeper will do it",
        extra={"event": "queue.unavailable", "task": task.value, "reason": str(error)},
    )


def make_celery(settings: Settings) -> Celery:
    """A Celery application with the options that keep tasks from being lost or run for ever."""
    celery = Celery("patchproof", broker=broker_url(settings), set_as_current=False)
    timeout = settings.redis_timeout_ms / 1000
    celery.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        # A killed child's task runs again instead of being acknowledged and lost.
        task_reject_on_worker_lost=True,
        task_time_limit=HARD_TIME_LIMIT_SECONDS,
        task_soft_time_limit=HARD_TIME_LIMIT_SECONDS - 30,
        task_default_queue=Queue.ANCHORING.value,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        timezone="UTC",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # Above the longest task, or a task would be delivered while it still runs.
            "visibility_timeout": HARD_TIME_LIMIT_SECONDS * 10,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": timeout,
            # A broker that hangs must not hang whoever only wants to wake a worker.
            "socket_timeout": timeout,
            "max_retries": 0,
        },
    )
    return celery


def broker_url(settings: Settings) -> str:
    """The Redis URL as Celery wants it, with the password where it was given apart."""
    url = urlsplit(settings.redis_url.get_secret_value())
    if settings.redis_password is not None and not url.password:
        password = quote(settings.redis_password.get_secret_value(), safe="")
        host = url.netloc.rpartition("@")[2]
        url = url._replace(netloc=f":{password}@{host}")
    if url.scheme == "unix":
        database = dict(parse_qsl(url.query)).get("db", "0")
        return f"redis+socket://{url.netloc}{url.path}?virtual_host={database}"
    return urlunsplit(url)


def _producer() -> Celery:
    settings = extensions.get().settings
    key = id(settings)
    if key not in _producers:
        _producers.clear()
        _producers[key] = make_celery(settings)
    return _producers[key]
