"""The whole service as real processes: gunicorn, a worker and beat, and clients that register."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import requests

from app.domain.states import RecordStatus, TransactionStatus
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from devnet.supervisor import Devnet
from tests.chaos.processes import wait_until
from tests.chaos.stages import new_uid
from tests.chaos.steps import list_unfinished
from tests.chaos.stories import Logs
from tests.chaos.workers import WorkerTheatre
from tests.integration.services.lab import Lab, Owner

# After a long outage the next try is as far away as the outage was long.
CONFIRM_SECONDS = 60.0 + 3 * float(os.environ.get("CHAOS_OUTAGE_SECONDS", "0"))

# What the worker says when it takes tasks, and beat when it has sent one.
_AT_WORK = (b" ready", b"Sending due task")


@dataclass(frozen=True)
class Accepted:
    """A registration that was answered with a 2xx."""

    uid: str
    request_id: str


class Live:
    """The service that the tests make trouble for."""

    def __init__(self, theatre: WorkerTheatre, devnet: Devnet) -> None:
        self.lab: Lab = theatre.lab
        self.devnet = devnet
        self._theatre = theatre
        self.logs = Logs([self._log_path("web"), theatre.zygote.log_path])

    @contextmanager
    def running(self) -> Iterator[None]:
        """Worker and beat while the body runs; it begins when both are at work.

        In an outage they would not start, and nobody here starts them again.
        """
        log_path = self._theatre.zygote.log_path
        begin = log_path.stat().st_size
        with self._theatre.restarted(is_gentle=False):
            wait_until(
                lambda: all(word in log_path.read_bytes()[begin:] for word in _AT_WORK),
                what="worker and beat at work",
            )
            yield

    def register(self, count: int) -> list[Accepted]:
        """Registers patches over HTTP; every one has to be accepted."""
        return [self._register() for _ in range(count)]

    def try_to_register(self, uid: str, request_id: str) -> requests.Response:
        return requests.post(
            f"{self.devnet.env['BASE_URL']}/v1/patches",
            json={
                "product": {"uid_tag_id": uid, "name": "Rain jacket"},
                "metadata": {"notes": "blue, size M"},
                "auth": {"owner": Owner().address},
            },
            headers={"x-api-key": self.devnet.env["API_KEY"], "X-Request-Id": request_id},
            timeout=30,
        )

    def wait_until_confirmed(self, accepted: Sequence[Accepted]) -> None:
        """Waits until all of these are confirmed and nothing is under way any more."""
        uids = [each.uid for each in accepted]
        confirmed = AuthenticationRecord.objects(
            uid_tag_id__in=uids, status=RecordStatus.CONFIRMED.value
        )
        wait_until(
            lambda: confirmed.count() == len(uids) and not list_unfinished(self.lab),
            seconds=CONFIRM_SECONDS,
            what=f"the end of {len(uids)} registrations",
        )

    def wait_until_mined(self) -> None:
        """Mines, and waits until the tracker has seen it."""
        self.lab.mine()
        waiting = ChainTransaction.objects(status=TransactionStatus.ACCEPTED.value)
        wait_until(lambda: not waiting.count(), seconds=CONFIRM_SECONDS, what="all mined")

    def _register(self) -> Accepted:
        accepted = Accepted(new_uid(), uuid4().hex)
        answer = self.try_to_register(accepted.uid, accepted.request_id)
        assert answer.ok, answer.text
        return accepted

    def _log_path(self, part: str) -> Path:
        return self.devnet.log_path(part)
