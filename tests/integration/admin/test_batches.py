"""A batch over HTTP and by command: every call answers, one runs at a time."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.bitcoin.transactions import Transaction
from app.commands.jobs import jobs
from app.models.transaction import ChainTransaction
from app.services import batches
from app.services.maintenance import exclusive
from tests.integration.api.caller import Caller

PATH = "/v1/admin/batch-anchor"
OUTAGE = {"kind": "status", "status": 503, "path": "/tx/raw"}


@pytest.fixture
def waiting(caller: Caller) -> Caller:
    """Three registrations that nobody anchors, and coins."""
    caller.start(JOBS_ASYNC="1")
    caller.lab.fill_pool(3)
    caller.lab.register_many(3)
    return caller


def anchor(caller: Caller, status: int, body: Any = None, path: str = PATH) -> dict[str, Any]:
    response = caller.post(path, {} if body is None else body)
    assert response.status_code == status, response.get_data(as_text=True)
    answered: dict[str, Any] = response.json
    assert answered["success"] is (status < 300)
    return answered


def test_f6_a_batch_answers(waiting: Caller) -> None:
    answered = anchor(waiting, 200)

    batch = ChainTransaction.objects.get(txid=answered["txid"])
    assert (answered["processed"], answered["updated"]) == (3, 3)
    assert (batch.kind, len(batch.records)) == ("batch", 3)
    assert anchor(waiting, 200) == {
        "success": True,
        "message": "no registration waits",
        "processed": 0,
    }


def test_f6_a_request_without_a_body_is_one_with_the_usual_limit(waiting: Caller) -> None:
    headers = {"x-api-key": waiting.lab.env["API_KEY"]}

    response = waiting.app.test_client().post(f"{PATH}?limit=2", headers=headers)

    assert response.status_code == 200
    assert response.json is not None
    assert response.json["processed"] == 2
    assert anchor(waiting, 200)["processed"] == 1


def test_f6_on_its_way_is_202_and_needs_no_second_call(waiting: Caller) -> None:
    waiting.lab.set_faults(OUTAGE)

    answered = anchor(waiting, 202)

    assert (answered["processed"], answered["updated"]) == (3, 0)
    waiting.lab.clear_faults()
    waiting.lab.sweep_until_quiet()
    assert ChainTransaction.objects.get(txid=answered["txid"]).status == "accepted"
    assert waiting.get("/v1/patches/verify/NFC-000").json["status"] == "authentic"


def test_anyone_can_check_a_record_of_a_batch(waiting: Caller) -> None:
    """With a hash and the transaction, as another's software would."""
    txid = anchor(waiting, 200)["txid"]
    raw_tx = bytes(ChainTransaction.objects.get(txid=txid).raw_tx)

    for number in range(3):
        details = waiting.get(f"/v1/patches/verify/NFC-00{number}").json["verificationDetails"]
        batch = details["batch"]
        node = sha256(b"\x00" + bytes.fromhex(details["onChainTxid"])).digest()
        index, last = batch["leafIndex"], batch["leafCount"] - 1
        for sibling in map(bytes.fromhex, batch["merklePath"]):
            while index % 2 == 0 and index == last:
                index, last = index // 2, last // 2
            pair = (sibling, node) if index % 2 else (node, sibling)
            node = sha256(b"\x01" + b"".join(pair)).digest()
            index, last = index // 2, last // 2

        assert details["anchorTxid"] == txid != details["onChainTxid"]
        assert batch["merkleRoot"] == node.hex()
        said = f'{{"leaf_count":3,"merkle_root":"{node.hex()}"}}'.encode()
        scripts = [output.locking_script for output in Transaction.from_bytes(raw_tx).outputs]
        assert any(said in script for script in scripts)


def test_a_record_of_a_batch_has_a_certificate_of_its_own(waiting: Caller) -> None:
    txid = anchor(waiting, 200)["txid"]
    head = waiting.get("/v1/patches/verify/NFC-001").json["verificationDetails"]["onChainTxid"]

    page = waiting.app.test_client().get(f"/certificates/{head}")

    assert page.status_code == 200
    text = page.get_data(as_text=True)
    assert head in text
    assert txid in text
    assert "NFC-001" in text
    # The transaction alone does not say which record is meant.
    assert waiting.app.test_client().get(f"/certificates/{txid}").status_code == 404


def test_m13_409_while_one_runs(waiting: Caller) -> None:
    with exclusive(batches.LOCK):
        assert anchor(waiting, 409)["code"] == "maintenance_running"


def test_an_empty_pool_is_503(caller: Caller) -> None:
    caller.start(JOBS_ASYNC="1")
    caller.lab.register_many(1)

    assert anchor(caller, 503)["code"] == "pool_empty"


@pytest.mark.parametrize(
    "body",
    [
        *({"limit": value} for value in (0, -1, 1001, 10**30, 1.5, "5", True, None, [], {})),
        {"limit": "\x00" * 10_000},
        {"limit": 5, "other": 1},
    ],
    ids=lambda body: repr(body)[:30],
)
def test_bad_limits_name_the_field(waiting: Caller, body: dict[str, Any]) -> None:
    details = anchor(waiting, 400, body)["error"]["details"]

    assert {each["field"] for each in details} <= {"limit", "other"}
    assert ChainTransaction.objects.count() == 0


def test_other_scopes_are_refused(waiting: Caller) -> None:
    response = waiting.app.test_client().post(PATH, json={})

    assert response.status_code == 401


# By command


@pytest.fixture
def command(waiting: Caller, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in waiting.lab.env.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> Result:
        return CliRunner().invoke(jobs, ["batch-anchor", *words])

    yield run
    waiting.start()


def test_the_command_tells_how_it_ended(command: Any, waiting: Caller) -> None:
    done = command("--limit", "2", "--json")

    answered = json.loads(done.stdout)
    assert (done.exit_code, answered["processed"], answered["updated"]) == (0, 2, 2)
    assert "Batch" in command().stdout
    nothing = command()
    assert (nothing.exit_code, nothing.stdout) == (2, "no registration waits\n")
    assert json.loads(command("--json").stdout)["txid"] is None
    assert command("--limit", "1001").exit_code == 2


def test_the_command_says_why_not(command: Any, waiting: Caller) -> None:
    with exclusive(batches.LOCK):
        held = command()
    assert (held.exit_code, "lock" in held.stderr) == (3, True)

    waiting.lab.configure()
    waiting.lab.collection("utxos").update_many({}, {"$set": {"status": "spent"}})
    empty = command()
    assert (empty.exit_code, "pays for a batch" in empty.stderr) == (5, True)
