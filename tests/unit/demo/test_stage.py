"""Steps end well and stay on the screen, or say what failed and where to look."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from demo.errors import DemoError, StepFailedError
from demo.stage import THREADS, Stage
from devnet.supervisor import PartFailedError
from patchproof_client import StillPendingError


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def stage(screen: io.StringIO) -> Stage:
    return Stage(Console(file=screen, width=200), lambda part: Path(f"/logs/{part}.log"))


def test_step_that_ends_well_stays_with_its_note(stage: Stage, screen: io.StringIO) -> None:
    with stage.step("Mine [one] block", "chain") as step:
        step.show("a detail with [brackets]")
        step.note = "block 7"
    assert [(each.title, each.note) for each in stage.steps] == [("Mine [one] block", "block 7")]
    assert "a detail with [brackets]" in screen.getvalue()
    assert "Mine [one] block  block 7" in screen.getvalue()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DemoError("it did not hold"), "it did not hold"),
        (StillPendingError("pending after 30 seconds"), "pending after 30 seconds"),
        (ConnectionRefusedError("refused"), "ConnectionRefusedError: refused"),
        (KeyError("pendingId"), "KeyError: 'pendingId'"),
    ],
)
def test_step_that_fails_names_the_log(stage: Stage, error: Exception, reason: str) -> None:
    with pytest.raises(StepFailedError) as failed:
        with stage.step("Register", "worker"):
            raise error
    assert (failed.value.step, failed.value.reason) == ("Register", reason)
    assert failed.value.log_path == Path("/logs/worker.log")
    assert stage.steps == []


def test_part_that_did_not_start_names_its_own_log(stage: Stage) -> None:
    with pytest.raises(StepFailedError) as failed:
        with stage.step("Start", "web"):
            raise PartFailedError("signer", "no answer", Path("/logs/signer.log"))
    assert failed.value.reason == "signer did not start: no answer"
    assert failed.value.log_path == Path("/logs/signer.log")


def test_interruption_is_no_failure(stage: Stage) -> None:
    with pytest.raises(KeyboardInterrupt):
        with stage.step("Register", "worker"):
            raise KeyboardInterrupt


def test_each_answers_in_the_order_of_its_items(stage: Stage) -> None:
    meet = threading.Barrier(THREADS)

    def work(item: int) -> int:
        meet.wait(timeout=5)
        return item * item

    with stage.step("Square", "web") as step:
        assert step.each(range(THREADS * 2), work) == [n * n for n in range(THREADS * 2)]


def test_first_failure_gives_up_what_has_not_begun(stage: Stage) -> None:
    begun: list[int] = []
    release = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise DemoError("the first one failed")
        release.wait(timeout=5)

    with pytest.raises(StepFailedError, match="the first one failed"):
        with stage.step("Register", "worker") as step:
            step.each(range(100), work)
    release.set()
    assert len(begun) <= THREADS + 1
