"""The supervisor as a library, with real processes."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from devnet.supervisor import (
    Devnet,
    DevnetError,
    PartFailedError,
    PartState,
    ProductionRefusedError,
)

LIGHT = ["redis", "mail"]
WORLD = ["database", "redis", "mail", "chain", "signer"]
Processes = Callable[[Devnet], list[int]]
Survivors = Callable[[list[int]], list[int]]


def pids(devnet: Devnet) -> dict[str, int | None]:
    return {row.part: row.pid for row in devnet.status()}


def states(devnet: Devnet) -> dict[str, PartState]:
    return {row.part: row.state for row in devnet.status()}


def test_the_world_starts_answers_and_leaves_nothing(
    own_devnet: Devnet, list_processes: Processes, list_survivors: Survivors
) -> None:
    assert sorted(own_devnet.up(WORLD)) == sorted(WORLD)
    assert {part for part, state in states(own_devnet).items() if state == "ready"} == set(WORLD)
    running = list_processes(own_devnet)
    assert len(running) > len(WORLD)

    assert own_devnet.down() == WORLD
    assert list_survivors(running) == []
    assert set(states(own_devnet).values()) == {PartState.STOPPED}
    assert own_devnet.down() == []


def test_second_up_starts_nothing(own_devnet: Devnet) -> None:
    own_devnet.up(LIGHT)
    before = pids(own_devnet)
    assert own_devnet.up(LIGHT) == []
    assert Devnet(own_devnet.directory).up(LIGHT) == []
    assert pids(own_devnet) == before


def test_only_the_dead_part_is_started_again(own_devnet: Devnet) -> None:
    own_devnet.up(LIGHT)
    before, exports = pids(own_devnet), own_devnet.env
    own_devnet.kill("redis")
    assert states(own_devnet)["redis"] is PartState.STOPPED

    assert own_devnet.up(LIGHT) == ["redis"]
    after = pids(own_devnet)
    assert after["mail"] == before["mail"]
    assert after["redis"] != before["redis"]
    assert own_devnet.env == exports


def test_children_of_a_dead_leader_are_stopped_too(
    own_devnet: Devnet, list_processes: Processes, list_survivors: Survivors
) -> None:
    own_devnet.up(["signer"])
    leader = pids(own_devnet)["signer"]
    running = list_processes(own_devnet)
    children = [pid for pid in running if pid != leader]
    assert children
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    assert leader is not None
    os.kill(leader, signal.SIGKILL)

    assert own_devnet.down() == ["signer"]
    assert list_survivors(running) == []


def test_a_frozen_part_is_killed_after_the_grace(
    own_devnet: Devnet, list_survivors: Survivors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devnet.supervisor.supervisor.GRACE_SECONDS", 0.5)
    own_devnet.up(["mail"])
    pid = pids(own_devnet)["mail"]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert own_devnet.down() == ["mail"]
    assert list_survivors([pid]) == []


def test_ports_and_secrets_stay_over_a_restart(own_devnet: Devnet) -> None:
    own_devnet.up(LIGHT)
    exports = own_devnet.env
    own_devnet.down()
    own_devnet.up(LIGHT)
    assert own_devnet.env == exports


def test_a_port_that_was_taken_meanwhile_is_replaced(own_devnet: Devnet) -> None:
    own_devnet.up(["mail"])
    port = int(own_devnet.env["SMTP_PORT"])
    own_devnet.down()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        own_devnet.up(["mail"])
        assert int(own_devnet.env["SMTP_PORT"]) != port
    assert states(own_devnet)["mail"] is PartState.READY


def test_a_part_that_dies_stops_everything_and_is_named(
    own_devnet: Devnet, list_survivors: Survivors
) -> None:
    own_devnet.up(LIGHT)
    running = [pid for pid in pids(own_devnet).values() if pid is not None]
    own_devnet.kill("redis")
    (own_devnet.directory / "redis" / "appendonly.aof").write_text("nothing that Redis wrote")

    with pytest.raises(PartFailedError, match="redis did not start: it ended with exit code 1"):
        own_devnet.up(LIGHT)
    assert "Bad file format" in own_devnet.log_path("redis").read_text()
    assert list_survivors(running) == []


def test_a_part_that_can_not_be_prepared_is_named(own_devnet: Devnet) -> None:
    own_devnet.directory.mkdir()
    (own_devnet.directory / "chain").write_text("where the chain wants its directory")
    with pytest.raises(PartFailedError, match=r"chain did not start: .*File exists") as failure:
        own_devnet.up([*LIGHT, "chain"])
    assert failure.value.part == "chain"
    assert failure.value.log_path == own_devnet.directory.resolve() / "logs" / "chain.log"


def test_a_part_that_never_answers_is_given_up_at_the_deadline(own_devnet: Devnet) -> None:
    begun = time.monotonic()
    with pytest.raises(PartFailedError, match="mail did not start: no SMTP greeting") as failure:
        own_devnet.up(["mail"], timeout_seconds=0.0)
    assert failure.value.part == "mail"
    assert time.monotonic() - begun < 10
    assert set(states(own_devnet).values()) == {PartState.STOPPED}


def test_a_damaged_keystore_is_reported_with_the_signers_words(own_devnet: Devnet) -> None:
    directory = own_devnet.directory / "signer"
    directory.mkdir(parents=True)
    keystore = directory / "keystore.json"
    keystore.write_text("{}")
    keystore.chmod(0o600)
    with pytest.raises(PartFailedError, match="python -m signer list --json failed: Error:"):
        own_devnet.up(["signer"])


def test_two_starts_at_once_make_one_devnet(own_devnet: Devnet) -> None:
    started: list[list[str]] = []
    others = [Devnet(own_devnet.directory) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda net=net: started.append(net.up(LIGHT))) for net in others
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(started) == [[], LIGHT]
    for net in others:
        net.down()
    assert [net.list_ended() for net in others] == [{}, {}]


def test_devnets_run_side_by_side(
    own_devnet: Devnet, tmp_path: Path, environ: dict[str, str]
) -> None:
    with Devnet(tmp_path / "other", environ=environ) as other:
        own_devnet.up(LIGHT)
        other.up(LIGHT)
        assert other.env["REDIS_URL"] != own_devnet.env["REDIS_URL"]
        other.down()
        assert states(own_devnet)["redis"] is PartState.READY


def test_a_server_outside_stands_in_for_a_part(
    own_devnet: Devnet, tmp_path: Path, environ: dict[str, str]
) -> None:
    own_devnet.up(["redis"])
    outside = own_devnet.env["REDIS_URL"]
    with Devnet(tmp_path / "other", environ=environ | {"REDIS_URL": outside}) as other:
        assert other.up(LIGHT) == ["mail"]
        assert other.env["REDIS_URL"] == outside
        assert states(other)["redis"] is PartState.EXTERNAL


def test_sourced_exports_are_not_a_server_outside(
    own_devnet: Devnet, tmp_path: Path, environ: dict[str, str]
) -> None:
    own_devnet.up(["redis"])
    with Devnet(tmp_path / "other", environ=environ | own_devnet.env) as other:
        assert other.up(["redis"]) == ["redis"]
        assert other.env["REDIS_URL"] != own_devnet.env["REDIS_URL"]


def test_production_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    devnet = Devnet(tmp_path / "devnet", environ=environ | {"APP_ENV": "production"})
    with pytest.raises(ProductionRefusedError, match="refused while APP_ENV is production"):
        devnet.up(LIGHT)
    assert not (tmp_path / "devnet").exists()


def test_an_unknown_part_is_refused(own_devnet: Devnet) -> None:
    with pytest.raises(DevnetError, match="There is no part named nginx"):
        own_devnet.up(["nginx"])


def test_what_is_secret_is_for_its_user_alone(own_devnet: Devnet) -> None:
    own_devnet.up([*LIGHT, "signer"])
    directory = own_devnet.directory
    private = [directory / "env", directory / "state.json", directory / "redis" / "redis.conf"]
    private += [*(directory / "secrets").iterdir(), directory / "signer" / "keystore.json"]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (directory, directory / "secrets")} == {0o700}


def test_no_secret_is_seen_in_a_command(own_devnet: Devnet) -> None:
    own_devnet.up([*LIGHT, "signer"])
    secrets = [path.read_text() for path in (own_devnet.directory / "secrets").iterdir()]
    commands = [
        word
        for pid in pids(own_devnet).values()
        if pid is not None
        for word in psutil.Process(pid).cmdline()
    ]
    assert not any(secret in word for secret in secrets for word in commands)
