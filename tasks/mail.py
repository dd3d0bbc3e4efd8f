"""Wake-ups for mails that wait."""

from __future__ import annotations

from bson import ObjectId
from celery import shared_task

from app.queue import Task
from app.services import code_delivery
from tasks.base import LoggedTask


@shared_task(name=Task.SEND_CODE.value, base=LoggedTask)
def send_code(code_id: str) -> None:
    """Sends the code of one request, unless it is sent, being sent or replaced already."""
    code_delivery.deliver(ObjectId(code_id))


@shared_task(name=Task.SWEEP_MAILS.value, base=LoggedTask)
def sweep_mails() -> None:
    """Sends what nobody was woken for and what could not be sent before."""
    code_delivery.sweep()
