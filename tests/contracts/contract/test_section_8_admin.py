"""Section 8: what an operator asks over HTTP."""

from __future__ import annotations

import re

import pytest

from app.services import batches
from app.services.maintenance import exclusive
from tests.contracts.contract.conftest import COINS
from tests.contracts.contract.wire import Wire, code_of, fields_of

MAINTAIN = "/v1/admin/utxo-maintain"
OTHER_NAME = "/v1/admin/utxo-maintenance"
BATCH = "/v1/admin/batch-anchor"
LEVEL = {"count", "totalSatoshis"}
# The test's coins count as useful.
SMALL = {
    "UTXO_SPLIT_SIZE_SATS": "1500",
    "DUST_THRESHOLD_SATS": "1200",
    "SPLIT_COOLDOWN_MS": "0",
}


def test_8_1_health_shows_the_pool_beside_the_chain(wire: Wire) -> None:
    answer = wire.get("/v1/admin/utxo-health", headers=wire.key)

    body = answer.json()
    assert answer.status_code == 200
    assert set(body["db"]) >= {"unconfirmed", "available", "locked", "spent"}
    assert all(set(level) == LEVEL for level in body["db"].values())
    env = wire.lab.env
    assert body["funding"]["address"] == env["UTXO_FUNDING_ADDRESS"]
    assert set(body["funding"]) == {"address", "network", "minConfirmations"}
    assert set(body["chain"]) == {
        *("totalUtxos", "totalSatoshis", "confirmedUtxos", "confirmedSatoshis", "height")
    }
    assert body["chain"]["totalUtxos"] >= 1


def test_8_1_without_the_chain_it_says_so(wire: Wire) -> None:
    wire.start(WOC_BASE_URL="http://127.0.0.1:1")

    body = wire.get("/v1/admin/utxo-health", headers=wire.key).json()

    assert set(body["chain"]) == {"error"}
    assert body["db"]["available"]["count"] >= 1


@pytest.mark.parametrize("path", [MAINTAIN, OTHER_NAME])
def test_8_2_a_step_answers_with_its_result(wire: Wire, path: str) -> None:
    answer = wire.keyed(path, {"action": "sync"})

    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], body["action"]) == (True, "sync")
    assert set(body["result"]["sync"]) == {"added", "spent", "confirmed"}


def test_8_2_without_a_body_it_is_all_three_in_order(wire: Wire) -> None:
    wire.start(UTXO_MIN_POOL=str(COINS // 4), **SMALL)

    for answer in (wire.send("POST", MAINTAIN, headers=wire.key), wire.keyed(MAINTAIN, {})):
        assert answer.json().get("action") == "auto", answer.text
        assert list(answer.json()["result"]) == ["sync", "sweep", "split"]


def test_8_2_what_sweep_and_split_say_when_there_is_nothing_to_do(wire: Wire) -> None:
    wire.start(
        UTXO_MIN_POOL="2",
        DUST_SWEEP_LIMIT="1000",
        **SMALL,
    )

    answer = wire.keyed(MAINTAIN, {"action": "sweep"})
    assert answer.status_code == 200, answer.text
    sweep = answer.json()["result"]["sweep"]
    split = wire.keyed(MAINTAIN, {"action": "split"}).json()["result"]["split"]

    assert (sweep["skipped"], sweep["reason"]) == (True, "dust_below_limit")
    assert isinstance(sweep["count"], int)
    assert (split["skipped"], split["reason"]) == (True, "pool_healthy")
    assert split["poolCount"] >= 2


def test_8_2_a_split_without_funds_says_what_it_needs(wire: Wire) -> None:
    wire.start(UTXO_MIN_POOL="1000", SPLIT_COOLDOWN_MS="0")

    split = wire.keyed(MAINTAIN, {"action": "split"}).json()["result"]["split"]

    assert (split.get("success"), split.get("error")) == (False, "no_large_utxo_available")
    assert split["required"] > 1_000_000


def test_8_2_a_sweep_names_its_transaction(wire: Wire) -> None:
    wire.start(DUST_SWEEP_LIMIT="2", DUST_THRESHOLD_SATS="1400")
    wire.lab.fill_pool(3, satoshis=1200)

    sweep = wire.keyed(MAINTAIN, {"action": "sweep"}).json()["result"]["sweep"]

    assert (sweep["success"], sweep["inputs"]) == (True, 3)
    assert re.fullmatch(r"[0-9a-f]{64}", sweep["txid"])


def test_8_2_one_runs_at_a_time(wire: Wire) -> None:
    with exclusive():
        answer = wire.keyed(MAINTAIN, {"action": "sync"})

    assert code_of(answer) == (409, "maintenance_running")
    assert answer.json()["success"] is False


def test_8_2_other_actions_are_400(wire: Wire) -> None:
    answer = wire.keyed(MAINTAIN, {"action": "burn"})

    assert (answer.status_code, fields_of(answer)) == (400, {"action"})
    assert answer.json()["success"] is False


def test_8_3_the_other_name_is_as_good(wire: Wire) -> None:
    answer = wire.keyed(OTHER_NAME, {"action": "burn"})

    assert (answer.status_code, fields_of(answer)) == (400, {"action"})


def test_8_4_invariants_say_what_was_checked(wire: Wire) -> None:
    answer = wire.get("/v1/admin/invariants", headers=wire.key)

    assert answer.status_code == 200
    assert set(answer.json()) == {"ok", "checked", "notChecked", "violations", "notices"}
    assert answer.json()["checked"]


def test_8_5_a_batch_names_its_transaction(wire: Wire) -> None:
    wire.start(JOBS_ASYNC="1")
    uids = [record.uid_tag_id for record in wire.lab.register_many(3, prefix="BATCH")]

    answer = wire.keyed(BATCH, {"limit": 2})

    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert set(body) == {"success", "txid", "processed", "updated"}
    assert (body["success"], body["processed"], body["updated"]) == (True, 2, 2)
    details = wire.get(f"/v1/patches/verify/{uids[0]}").json()["verificationDetails"]
    assert (details["anchorTxid"], details["findings"]) == (body["txid"], [])
    assert details["batch"]["leafCount"] == 2

    assert wire.send("POST", f"{BATCH}?limit=1000", headers=wire.key).json()["processed"] == 1


def test_8_5_with_nothing_to_do_it_says_so(wire: Wire) -> None:
    wire.keyed(BATCH)

    answer = wire.keyed(BATCH)

    body = answer.json()
    assert (answer.status_code, set(body)) == (200, {"success", "message", "processed"})
    assert (body["success"], body["processed"]) == (True, 0)


def test_8_5_one_runs_at_a_time(wire: Wire) -> None:
    with exclusive(batches.LOCK):
        answer = wire.keyed(BATCH)

    assert code_of(answer) == (409, "maintenance_running")
    assert answer.json()["success"] is False


@pytest.mark.parametrize("limit", [0, 1001])
def test_8_5_limits_out_of_bounds_are_400(wire: Wire, limit: int) -> None:
    in_body = wire.keyed(BATCH, {"limit": limit})
    in_query = wire.send("POST", f"{BATCH}?limit={limit}", headers=wire.key)

    for answer in (in_body, in_query):
        assert (answer.status_code, fields_of(answer)) == (400, {"limit"})
        assert answer.json()["success"] is False
