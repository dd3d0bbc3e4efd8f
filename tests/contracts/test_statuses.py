"""A status changes only in the documents, and what is queued is consumed."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings, load_settings
from app.queue import QUEUE_OF_TASK, Queue, Task
from devnet.supervisor.parts.application import QUEUES
from tasks.schedule import beat_schedule

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT / "app" / "models"
# Only the documents may: each of these writes past an event's compare-and-set, or is one.
WRITES = frozenset(
    {
        "transition",
        "transition_each",
        "bulk_write",
        "find_one_and_update",
        "insert_many",
        "insert_one",
        "replace_one",
        "save",
        "update_many",
        "update_one",
    }
)


def sources() -> list[Path]:
    """The modules of the application outside the documents."""
    found = [*(ROOT / "app").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
    return [path for path in found if DOCUMENTS not in path.parents]


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and words of whatever writes a status."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # A picture's `save` names the file that it goes to, a document's takes none.
            is_into_file = node.func.attr == "save" and node.args
            if node.func.attr in WRITES and not is_into_file:
                yield node.lineno, f".{node.func.attr}()"
            yield from (
                (node.lineno, word.arg) for word in node.keywords if word.arg == "set__status"
            )
        if isinstance(node, ast.Assign):
            yield from (
                (node.lineno, "an assignment to .status")
                for target in node.targets
                if isinstance(target, ast.Attribute) and target.attr == "status"
            )


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_d2_statuses_change_only_in_the_documents(path: Path) -> None:
    assert list(offences(ast.parse(path.read_text(encoding="utf-8")))) == []


def test_the_check_sees_what_it_is_for() -> None:
    code = "a.objects(id=1).update_one(set__status=x)\nb.status = y\nc.transition(e)\nd.save()\n"

    assert {what for _, what in offences(ast.parse(code))} == {
        ".update_one()",
        "set__status",
        ".transition()",
        ".save()",
        "an assignment to .status",
    }


def test_every_task_has_a_queue_and_every_queue_a_task() -> None:
    assert set(QUEUE_OF_TASK) == set(Task)
    assert set(QUEUE_OF_TASK.values()) == set(Queue)


def test_every_queue_is_consumed_by_the_devnets_worker() -> None:
    assert set(QUEUES) == {queue.value for queue in Queue}


def test_every_task_is_registered_by_a_module_that_the_worker_imports() -> None:
    worker = (ROOT / "tasks" / "worker.py").read_text(encoding="utf-8")
    imported = re.findall(r'"(tasks\.\w+)"', worker)
    names = set()
    for module in imported:
        tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text())
        names |= {
            Task[node.attr].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "Task"
        }

    assert names == {task.value for task in Task}


@pytest.fixture
def settings() -> Settings:
    """What a worker is started with."""
    return load_settings(
        {
            "APP_ENV": "test",
            "API_KEY": "the-api-key",
            "JWT_SECRET": "a secret for tokens, of forty characters",
            "MASTER_SECRET": "a master secret",
            "MONGODB_URI": "mongodb://127.0.0.1:1/",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "KMS_SIGN_URL": "http://127.0.0.1:1",
            "KMS_API_KEY": "the-kms-key",
            "ISSUER_KEY_IDENTIFIER": "issuer",
            "ISSUER_PUBLIC_KEYS": (
                "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa"
            ),
            "UTXO_FUNDING_KEY_IDENTIFIER": "funding",
            "UTXO_FUNDING_ADDRESS": "n4XmX91N5FfccY678vaG1ELNtXh6skVES7",
            "WOC_NETWORK": "test",
        }
    )


def test_beat_starts_known_tasks_on_their_queues(settings: Settings) -> None:
    for entry in beat_schedule(settings).values():
        task = Task(entry["task"])
        assert entry["options"]["queue"] == QUEUE_OF_TASK[task].value
        assert entry["options"]["expires"] > 0


def test_what_nobody_wakes_is_started_by_beat(settings: Settings) -> None:
    started = {entry["task"] for entry in beat_schedule(settings).values()}

    assert {Task.SWEEP.value, Task.REAP_LOCKS.value, Task.TRACK_TRANSACTIONS.value} <= started
