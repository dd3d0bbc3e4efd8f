"""What an operator reads: the pool's health, the invariants, the metrics."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pymongo.monitoring import CommandListener, CommandStartedEvent, register

from app import extensions
from app.domain.clock import utc_now
from app.models.setting import Setting
from app.models.utxo import Utxo
from app.services import anchoring, checkup
from tests.integration.api.caller import Caller
from tests.integration.services.lab import Owner

OUTAGE = {"kind": "status", "status": 503}
EXPLAINED = ("find", "aggregate", "count", "filter", "query", "pipeline", "cursor", "sort", "limit")
STATES = ("unconfirmed", "available", "locked", "spent", "void")


class Commands(CommandListener):
    """Counts what is asked of the database by clients that are made from here on."""

    total = 0
    asked: ClassVar[list[dict[str, Any]]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in ("find", "aggregate", "count", "getMore"):
            Commands.total += 1
            Commands.asked.append(dict(event.command))

    def succeeded(self, event: object) -> None:
        """Was counted when it began."""

    def failed(self, event: object) -> None:
        """Was counted when it began."""


register(Commands())


def headers(caller: Caller) -> dict[str, str]:
    return {"x-api-key": caller.lab.env["API_KEY"]}


def scrape(caller: Caller) -> dict[tuple[str, str], float]:
    """Every sample by name and label."""
    response = caller.get("/metrics")
    assert response.status_code == 200, response.get_data(as_text=True)
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(response.get_data(as_text=True))
        for sample in family.samples
    }


# utxo-health


def test_o11_health_shows_what_the_service_runs_with(caller: Caller) -> None:
    caller.start(UTXO_MIN_CONFIRMATIONS="1")
    caller.lab.fill_pool(3)
    tip = caller.lab.mine()
    caller.lab.fund(1, 700)

    response = caller.get("/v1/admin/utxo-health", headers=headers(caller))

    assert response.status_code == 200
    shown = response.json
    assert list(shown) == ["db", "funding", "chain", "fuel"]
    assert list(shown["db"]) == list(STATES)
    assert shown["db"]["available"] == {"count": 3, "totalSatoshis": 6000}
    assert shown["db"]["spent"] == {"count": 0, "totalSatoshis": 0}
    assert shown["funding"] == {
        "address": caller.lab.settings.utxo_funding_address,
        "network": "regtest",
        "minConfirmations": 1,
    }
    assert shown["chain"] == {
        "totalUtxos": 4,
        "totalSatoshis": 6700,
        "confirmedUtxos": 3,
        "confirmedSatoshis": 6000,
        "height": tip,
    }


def test_o11_the_minimum_is_the_live_one(caller: Caller) -> None:
    Setting.put("UTXO_MIN_CONFIRMATIONS", 3)

    response = caller.get("/v1/admin/utxo-health", headers=headers(caller))

    assert response.json["funding"]["minConfirmations"] == 3


def test_health_shows_how_far_the_pool_reaches(caller: Caller) -> None:
    caller.lab.fill_pool(3)
    caller.registered("NFC-1", Owner())

    fuel = caller.get("/v1/admin/utxo-health", headers=headers(caller)).json["fuel"]

    assert fuel["satoshisPerKilobyte"] == 100
    assert fuel["registrationsLastHour"] == 1
    assert fuel["registrationsLeft"] > 10
    assert fuel["hoursLeft"] > 1
    assert fuel["waitingRecords"] == 0
    assert fuel["oldestWaitingSeconds"] is None
    assert any("fewer than 10" in warning for warning in fuel["warnings"])


def test_health_without_the_chain_shows_the_rest(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    caller.lab.set_faults(OUTAGE)

    response = caller.get("/v1/admin/utxo-health", headers=headers(caller))

    assert response.status_code == 200
    assert list(response.json["chain"]) == ["error"]
    assert response.json["db"]["available"]["count"] == 1


# invariants


def test_invariants_hold(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    caller.registered("NFC-1", Owner())

    response = caller.get("/v1/admin/invariants", headers=headers(caller))

    assert response.status_code == 200
    assert response.json["ok"] is True
    assert response.json["violations"] == []
    assert {"outpoint-spent-once", "pool-equals-chain"} <= set(response.json["checked"])


def test_p3_a_violation_is_shown_with_its_ids(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    point = Utxo.objects.get().outpoint
    caller.lab.collection("utxos").update_one({"_id": point}, {"$set": {"status": "spent"}})

    response = caller.get("/v1/admin/invariants", headers=headers(caller))

    assert response.status_code == 200
    assert response.json["ok"] is False
    rules = {violation["rule"]: violation["ids"] for violation in response.json["violations"]}
    assert rules == {"spent-output-names-spender": [point], "pool-equals-chain": [point]}


def test_an_absent_chain_is_no_success(caller: Caller) -> None:
    caller.lab.set_faults(OUTAGE)

    response = caller.get("/v1/admin/invariants", headers=headers(caller))

    assert response.json["ok"] is False
    assert response.json["violations"] == []
    assert set(response.json["notChecked"]) == {"pool-equals-chain"}
    assert "pool-equals-chain" not in response.json["checked"]


# metrics


def test_metrics_show_the_pool_and_what_waits(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    caller.registered("NFC-1", Owner())
    checkup.run()

    seen = scrape(caller)

    assert {state for name, state in seen if name == "patchproof_utxos"} == set(STATES)
    assert seen["patchproof_utxos", "available"] == 2
    assert seen["patchproof_utxos", "spent"] == 1
    assert seen["patchproof_utxo_satoshis", "available"] > 2000
    assert seen["patchproof_records", "confirmed"] == 1
    assert seen["patchproof_records", "failed"] == 0
    assert seen["patchproof_transactions", "accepted"] == 1
    assert seen["patchproof_registrations_left", ""] > 10
    assert seen["patchproof_runway_hours", ""] > 1
    assert seen["patchproof_oldest_waiting_record_seconds", ""] == 0
    assert seen["patchproof_circuit_open", "whatsonchain"] == 0
    assert seen["patchproof_fee_satoshis_per_kilobyte", ""] == 100


def test_metrics_of_an_idle_service_are_numbers_too(caller: Caller) -> None:
    seen = scrape(caller)

    assert seen["patchproof_runway_hours", ""] == math.inf
    assert seen["patchproof_utxos", "available"] == 0


def test_metrics_show_an_open_circuit_and_the_oldest_record(caller: Caller) -> None:
    caller.start(CIRCUIT_FAILURES="1", JOBS_ASYNC="1")
    caller.lab.fill_pool(1)
    [record] = caller.lab.register_many(1)
    caller.lab.set_faults(OUTAGE)
    anchoring.anchor([record])

    seen = scrape(caller)

    assert seen["patchproof_circuit_open", "whatsonchain"] == 1
    assert seen["patchproof_records", "anchoring"] == 1
    age = (utc_now() - record.created_at).total_seconds()
    # Told in tenths of a second.
    assert 0 <= seen["patchproof_oldest_waiting_record_seconds", ""] <= age + 0.1


def test_scraping_costs_the_same_however_much_there_is(caller: Caller) -> None:
    before = Commands.total
    scrape(caller)
    empty = Commands.total - before

    caller.start()
    caller.lab.fill_pool(20)
    for number in range(5):
        caller.registered(f"NFC-{number}", Owner())
    before = Commands.total
    scrape(caller)
    assert Commands.total - before == empty

    before = Commands.total
    scrape(caller)
    assert Commands.total == before, "asked again within five seconds"


def test_no_question_of_a_scrape_reads_a_whole_collection(caller: Caller) -> None:
    caller.start()
    caller.lab.fill_pool(3)
    caller.registered("NFC-1", Owner())
    checkup.run()
    Commands.asked.clear()
    scrape(caller)
    # MongoDB finds a range of ids in their index; the embedded server says that it does not.
    questions = [asked for asked in Commands.asked if "'_id': {'$gte'" not in str(asked)]
    assert len(questions) > 8
    assert [asked for asked in questions if "COLLSCAN" in explain(caller, asked)] == []


def explain(caller: Caller, command: dict[str, Any]) -> str:
    """How the server answers it."""
    known = {name: value for name, value in command.items() if name in EXPLAINED}
    current = extensions.get()
    database = current.database[current.settings.db_name]
    return str(database.command("explain", known))


@pytest.mark.parametrize(("required", "status"), [("0", 200), ("1", 401)])
def test_metrics_ask_for_the_key_where_the_setting_says_so(
    caller: Caller, required: str, status: int
) -> None:
    caller.start(METRICS_REQUIRE_API_KEY=required)

    assert caller.get("/metrics").status_code == status
    assert caller.get("/metrics", headers=headers(caller)).status_code == 200


def test_o2_a_dead_database_takes_its_own_numbers_along_and_no_others(caller: Caller) -> None:
    caller.start(
        MONGODB_URI="mongodb://127.0.0.1:1/?directConnection=true",
        DB_SERVER_SELECTION_TIMEOUT_MS="100",
    )

    seen = scrape(caller)
    assert seen["patchproof_part_up", "database"] == 0
    assert seen["patchproof_part_up", "redis"] == 1
    assert seen["patchproof_queue_depth", "anchoring"] == 0
    assert ("patchproof_registrations_left", "") not in seen
    response = caller.get("/v1/admin/utxo-health", headers=headers(caller))
    assert response.status_code == 503
    assert response.json["success"] is False
    extensions.get().database.close()
