"""What a start asks of a database that greets it."""

from __future__ import annotations

from typing import Any

import pytest

from app.services import start_checks
from app.services.start_checks import SERVICES, Kind


@pytest.mark.parametrize(
    ("hello", "is_one"),
    [
        ({"ok": 1.0, "setName": "rs0", "isWritablePrimary": True}, True),
        ({"ok": 1.0, "msg": "isdbgrid"}, True),
        ({"ok": 1.0, "isWritablePrimary": True}, False),
        ({"ok": 1.0, "msg": "hello"}, False),
    ],
)
def test_d8_a_server_without_a_replica_set_is_told_apart(
    hello: dict[str, Any], is_one: bool
) -> None:
    assert start_checks.is_replicated(hello) is is_one


def test_o3_worker_and_beat_ask_for_what_the_web_asks_for() -> None:
    needs = {
        kind: {need.name for need in start_checks._NEEDS if kind in need.kinds} for kind in Kind
    }

    assert needs[Kind.COMMAND] == {"bitcoin code"}
    assert needs[Kind.WORKER] == needs[Kind.BEAT] == needs[Kind.WEB] - {"API key", "login key"}
    assert all(len(needs[kind]) >= 8 for kind in SERVICES)
