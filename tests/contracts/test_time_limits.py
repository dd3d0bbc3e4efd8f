"""Numbers that only together keep a task from running twice, and a stop from cutting work off."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.queue import HARD_TIME_LIMIT_SECONDS, QUEUE_OF_TASK, Queue, Task, make_celery
from app.services import maintenance, start_checks
from app.starting import PATIENCE_SECONDS
from tasks.schedule import beat_schedule
from tests.unit.test_config import REQUIRED, load_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Those of production that nobody has changed."""
    return load_settings(REQUIRED)


@pytest.fixture(scope="module")
def gunicorn() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "deploy" / "gunicorn.conf.py"))


def seconds_of_unit(name: str, directive: str) -> int:
    text = (ROOT / "deploy" / "systemd" / name).read_text()
    found = re.search(rf"^{directive}=(\d+)$", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_no_task_is_delivered_again_while_it_runs(settings: Settings) -> None:
    celery = make_celery(settings).conf
    options = celery.broker_transport_options

    assert celery.task_soft_time_limit < celery.task_time_limit == HARD_TIME_LIMIT_SECONDS
    # One that waits behind another in the same child is on its way all that time.
    assert options["visibility_timeout"] > 2 * celery.task_time_limit
    assert celery.task_acks_late
    assert celery.task_reject_on_worker_lost
    assert celery.worker_prefetch_multiplier == 1


def test_the_page_of_processes_lists_what_runs_where() -> None:
    rows = (ROOT / "docs" / "operations" / "processes.md").read_text().splitlines()
    for queue in Queue:
        [row] = [row for row in rows if row.startswith(f"| `{queue.value}` |")]
        named = set(re.findall(r"`([a-z-]+)`", row)) - {queue.value}
        assert named == {task.value for task, where in QUEUE_OF_TASK.items() if where is queue}
        assert row.endswith(f"| {HARD_TIME_LIMIT_SECONDS} s |")


def test_nothing_is_put_off_beyond_its_delivery(settings: Settings) -> None:
    """What waits for a time of its own waits in the database; a message never does."""
    for entry in beat_schedule(settings).values():
        assert set(entry["options"]) == {"queue", "expires"}
        assert "countdown" not in entry
    assert set(QUEUE_OF_TASK) == set(Task)
    assert set(QUEUE_OF_TASK.values()) == set(Queue)


def test_what_is_under_way_ends_before_the_stop_does(
    settings: Settings, gunicorn: dict[str, Any]
) -> None:
    stop = seconds_of_unit("patchproof-web.service", "TimeoutStopSec")
    budget = settings.kms_budget_ms / 1000
    assert budget < gunicorn["graceful_timeout"] < stop
    stop = seconds_of_unit("patchproof-worker@.service", "TimeoutStopSec")
    assert stop > HARD_TIME_LIMIT_SECONDS


def test_a_start_says_what_is_missing_before_anybody_ends_it() -> None:
    asked = (
        start_checks.DATABASE_SECONDS,
        start_checks.SIGNER_SECONDS,
        start_checks.LOGIN_SECONDS,
        start_checks.CHAIN_SECONDS,
    )
    assert max(asked) < PATIENCE_SECONDS < 30
    assert seconds_of_unit("patchproof-web.service", "TimeoutStartSec") > 30


def test_m12_a_lock_outlives_the_pauses_of_its_heartbeat(settings: Settings) -> None:
    """Even when Redis takes as long as it may, twice."""
    pause = maintenance.TTL_SECONDS / 3
    assert pause + 2 * settings.redis_timeout_ms / 1000 < maintenance.TTL_SECONDS
    assert settings.claim_lease_seconds > settings.kms_budget_ms / 1000
