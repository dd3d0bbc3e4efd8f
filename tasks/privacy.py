"""Erasures that wait for something to settle are finished without anybody asking."""

from __future__ import annotations

from celery import shared_task

from app.queue import Task
from app.services import erasing
from tasks.base import LoggedTask


@shared_task(name=Task.SWEEP_ERASURES.value, base=LoggedTask)
def sweep_erasures() -> None:
    """Goes on with erasures whose time has come."""
    erasing.sweep()
