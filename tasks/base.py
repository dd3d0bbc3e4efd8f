"""The one Task class: request id carried over, one log line and one measure an outcome."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Task

from app import logs, measures
from app.queue import REQUEST_ID_HEADER

logger = logging.getLogger(__name__)


class LoggedTask(Task):
    """Runs under the request id of whoever enqueued it and logs how it ended."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        carried = (self.request.headers or {}).get(REQUEST_ID_HEADER) or self.request.get(
            REQUEST_ID_HEADER
        )
        token = logs.request_id.set(carried)
        started = time.perf_counter()
        outcome = "failed"
        try:
            result = super().__call__(*args, **kwargs)
            outcome = "done"
            return result
        finally:
            seconds = time.perf_counter() - started
            _measure(str(self.name), outcome, seconds)
            logger.info(
                "task %s",
                outcome,
                extra={
                    "event": "task",
                    "task": self.name,
                    "outcome": outcome,
                    "task_id": self.request.id,
                    "milliseconds": round(seconds * 1000, 1),
                },
            )
            logs.request_id.reset(token)


def _measure(task: str, outcome: str, seconds: float) -> None:
    measures.TASKS.add(task, outcome)
    measures.TASK_SECONDS.observe(seconds, task)
    if outcome == "done":
        measures.TASK_DONE.mark(task)
