"""Dockerfile and compose.yaml: valid, pinned, and as closed as the units of systemd are."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator

from app.config import Settings, load_settings
from app.queue import HARD_TIME_LIMIT_SECONDS, Queue

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Path(__file__).parent / "schemas" / "compose-spec.json"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MAKE_SECRETS = ROOT / "deploy" / "compose" / "make-secrets.sh"
# What people bring themselves.
BROUGHT = {"tls_certificate", "tls_key"}


def test_the_file_is_what_the_specification_allows() -> None:
    schema = json.loads(SCHEMA.read_text())
    errors = list(Draft201909Validator(schema).iter_errors(COMPOSE))
    assert [(list(error.path), error.message) for error in errors] == []


def test_only_the_proxy_is_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert list(SERVICES["nginx"]["networks"]) == ["door", "outside"]
    is_internal = {name: bool(net.get("internal")) for name, net in COMPOSE["networks"].items()}
    assert is_internal == {"door": True, "data": True, "keys": True, "outside": False}


def test_s4_the_signer_sees_nobody_but_its_callers() -> None:
    assert SERVICES["signer"]["networks"] == ["keys"]
    assert SERVICES["signer"]["user"] == "patchproof-signer"
    assert set(SERVICES["signer"]["secrets"]) == {"signer_passphrase", "kms_api_key"}
    for name in ("nginx", "mongo", "redis"):
        assert "keys" not in SERVICES[name]["networks"]
        assert not {"signer_passphrase", "kms_api_key"} & set(SERVICES[name]["secrets"])


@pytest.mark.parametrize("name", [*OURS, "nginx", "redis"])
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user") != "root"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_has_a_version_and_every_process_a_check(name: str) -> None:
    service = SERVICES[name]
    if name not in OURS:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+-[a-z]+", service["image"])
    if name == "mongo-init":
        assert service["restart"] == "on-failure:5"
        return
    # The image has the check of the API.
    assert name == "web" or "healthcheck" in service


def test_every_queue_has_a_worker_that_may_finish_its_task() -> None:
    workers = {name: each for name, each in SERVICES.items() if name.startswith("worker-")}
    queues = [worker["environment"]["QUEUE"] for worker in workers.values()]
    assert sorted(queues) == sorted(queue.value for queue in Queue)
    for worker in workers.values():
        assert int(worker["stop_grace_period"].rstrip("s")) > HARD_TIME_LIMIT_SECONDS


def test_redis_keeps_what_waits_and_has_a_password() -> None:
    [script] = [word for word in SERVICES["redis"]["command"] if "redis-server" in word]
    for word in ("appendonly yes", "requirepass %s", "maxmemory-policy noeviction"):
        assert word in script
    assert "redis:/data" in SERVICES["redis"]["volumes"]
    assert "--replSet" in SERVICES["mongo"]["command"]
    assert "--keyFile" in SERVICES["mongo"]["command"]


def make_secrets(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(MAKE_SECRETS), *words],
        env={"PATH": os.environ["PATH"], "SECRETS": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def read_all(directory: Path) -> Mapping[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_every_secret_is_a_file_that_is_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    make_secrets(directory, "--self-signed", "patchproof.example")
    made = read_all(directory)
    assert made.keys() == COMPOSE["secrets"].keys()
    assert all(COMPOSE["secrets"][name]["file"] == f"./secrets/{name}" for name in made)
    assert directory.stat().st_mode & 0o777 == 0o700

    (directory / "jwt_secret").unlink()
    make_secrets(directory)
    again = read_all(directory)
    assert {name for name in made if made[name] != again[name]} == {"jwt_secret"}


def test_nothing_secret_stands_in_the_file() -> None:
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == COMPOSE["secrets"].keys()
    for name in OURS:
        for setting, value in SERVICES[name]["environment"].items():
            if re.search("SECRET|PASSWORD|API_KEY|PASSPHRASE|MONGODB_URI", setting):
                assert setting.endswith("_FILE")
                assert value.startswith("/run/secrets/")


def test_the_settings_of_the_file_are_the_services_own(tmp_path: Path) -> None:
    """With those of the example around them they are whole."""
    directory = tmp_path / "secrets"
    make_secrets(directory)
    example = [
        line.split("=", 1)
        for line in (ROOT / "deploy" / "env.example").read_text().splitlines()
        if re.match("[A-Z]", line) and not line.startswith("MONGODB_URI=")
    ]
    key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    mine = {
        "ISSUER_PUBLIC_KEYS": key,
        "UTXO_FUNDING_ADDRESS": "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH",
    }
    settings = {
        name: value.replace("/run/secrets", str(directory))
        for name, value in SERVICES["web"]["environment"].items()
    }
    loaded = load_settings({**dict(example), **mine, **settings})
    assert loaded.is_production
    names = {name.lower().removesuffix("_file") for name in settings}
    assert names - Settings.model_fields.keys() == {"forwarded_allow_ips"}


def test_the_image_is_pinned_has_no_root_and_installs_by_hash() -> None:
    assert re.search(
        r"^ARG PYTHON_IMAGE=python:3\.11\.\d+-slim-bookworm$", DOCKERFILE, re.MULTILINE
    )
    stages = re.findall(r"^FROM (.*)$", DOCKERFILE, re.MULTILINE)
    assert stages == ["${PYTHON_IMAGE} AS packages", "${PYTHON_IMAGE}"]
    assert "--no-deps --require-hashes" in DOCKERFILE
    last = DOCKERFILE.split("\nFROM ")[-1]
    assert re.search(r"^USER patchproof$", last, re.MULTILINE)
    assert last.index("\nUSER") < last.index("\nHEALTHCHECK") < last.index("\nCMD")


def test_all_that_the_image_copies_reaches_the_builder_and_nothing_else() -> None:
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert copied == let_in
    assert "*" in lines
    assert all((ROOT / path).exists() for path in copied)
    assert not any(fnmatch("secrets/jwt_secret", pattern) for pattern in let_in)


def test_the_image_runs_what_the_unit_runs() -> None:
    [command] = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    unit = (ROOT / "deploy" / "systemd" / "patchproof-web.service").read_text()
    words = json.loads(command)
    assert " ".join(words[1:]) in unit


def test_f14_the_image_has_the_pages_that_the_service_hands_out() -> None:
    assert "COPY docs/api docs/api\n" in DOCKERFILE
    assert "!docs/api" in (ROOT / ".dockerignore").read_text().splitlines()
