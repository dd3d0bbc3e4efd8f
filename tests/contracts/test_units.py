"""deploy/systemd: units that systemd understands, hardened, with a consumer for every queue."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from app.queue import HARD_TIME_LIMIT_SECONDS, Queue
from devnet.supervisor.parts.application import QUEUES

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
SERVICES = [path for path in UNITS if path.suffix == ".service"]
# What systemd 252 (Debian 12) knows, of what we use: a misspelt word is only warned of there.
HARDENING = {
    "NoNewPrivileges": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectProc": "invisible",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "LockPersonality": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0077",
}
DIRECTIVES = {
    "Unit": {"Description", "After", "Before", "Wants", "Requires", "PartOf"}
    | {"StartLimitIntervalSec"},
    "Install": {"WantedBy"},
    "Socket": {"ListenStream", "Backlog", "NoDelay", "FlushPending"},
    "Service": {"Type", "NotifyAccess", "Sockets", "User", "Group", "WorkingDirectory", "ExecStart"}
    | {"ExecStartPost"}
    | {"Environment", "EnvironmentFile", "RuntimeDirectory", "KillMode", "Restart", "RestartSec"}
    | {"TimeoutStartSec", "TimeoutStopSec", "LimitNOFILE", "LimitCORE", "ReadOnlyPaths"}
    | {"IPAddressDeny", "IPAddressAllow"}
    | set(HARDENING),
}
Unit = dict[str, dict[str, list[str]]]


def read(path: Path) -> Unit:
    """Sections, directives and their values, in order."""
    unit: Unit = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, separator, value = line.partition("=")
            assert separator, line
            unit[section][name].append(value)
    return unit


def one(path: Path, name: str) -> str:
    [value] = read(path)["Service"][name]
    return value


def unit_path(name: str) -> Path:
    return ROOT / "deploy" / "systemd" / name


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_every_directive_is_one_that_systemd_knows(path: Path) -> None:
    for section, directives in read(path).items():
        assert set(directives) <= DIRECTIVES[section]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_o9_no_comment_stands_behind_a_value(path: Path) -> None:
    for line in path.read_text().splitlines():
        assert line.startswith("#") or not re.search(r"\s[#;]|\s$", line), line


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_every_service_is_confined_and_comes_back(path: Path) -> None:
    service = read(path)["Service"]
    for name, value in HARDENING.items():
        assert service[name] == [value], name
    assert one(path, "User") not in ("", "root")
    assert one(path, "Restart") == "always"


def test_s4_the_signer_runs_as_a_user_of_its_own() -> None:
    users = {path.name: one(path, "User") for path in SERVICES}
    signers = {name for name, user in users.items() if user == "patchproof-signer"}
    assert signers == {"patchproof-signer.service"}
    assert one(unit_path("patchproof-signer.service"), "IPAddressDeny") == "any"


def test_every_queue_has_a_worker_and_the_clock_runs_once() -> None:
    wanted = " ".join(read(unit_path("patchproof.target"))["Unit"]["Wants"]).split()
    instances = [
        match[1] for unit in wanted if (match := re.match(r".*-worker@(.*)\.service", unit))
    ]
    assert sorted(instances) == sorted(queue.value for queue in Queue)
    assert sorted(QUEUES) == sorted(queue.value for queue in Queue)
    assert wanted.count("patchproof-beat.service") == 1
    assert "--queues %i " in one(unit_path("patchproof-worker@.service"), "ExecStart")


def test_the_next_api_differs_from_the_api_in_its_place_alone() -> None:
    web, following = (
        read(unit_path("patchproof-web.service")),
        read(unit_path("patchproof-web-next.service")),
    )
    assert following["Service"].pop("Sockets") == ["patchproof-web.socket"]
    for name in ("Environment", "RuntimeDirectory", "ExecStartPost"):
        [mine], [its] = following["Service"].pop(name), web["Service"].pop(name)
        assert mine == its.replace("patchproof-web", "patchproof-web-next")
    assert following["Service"] == web["Service"]
    # It is there while one release takes another's place, and never after a boot.
    assert "Install" not in following


def test_a_stop_waits_for_what_is_under_way() -> None:
    web = runpy.run_path(str(ROOT / "deploy" / "gunicorn.conf.py"))
    stop = int(one(unit_path("patchproof-web.service"), "TimeoutStopSec"))
    assert stop > web["graceful_timeout"]
    stop = int(one(unit_path("patchproof-worker@.service"), "TimeoutStopSec"))
    assert stop > HARD_TIME_LIMIT_SECONDS
    [address] = read(unit_path("patchproof-web.socket"))["Socket"]["ListenStream"]
    assert address == web["bind"]


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    # Where there is no systemd, the list above has to do.
    for path in UNITS:
        text = re.sub(
            r"/opt/patchproof(-signer)?/current/\.venv/bin/python", sys.executable, path.read_text()
        )
        text = re.sub(r"(?m)^(User|Group)=.*", r"\1=root", text)
        (tmp_path / path.name).write_text(text)
    analyzer = shutil.which("systemd-analyze")
    command = [analyzer, "verify", "--man=no"] if analyzer else ["true"]
    done = subprocess.run(
        [*command, *map(str, sorted(tmp_path.iterdir()))],
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (done.returncode, said) == (0, []), done.stderr


def test_the_journal_keeps_what_is_said_within_bounds() -> None:
    lines = (ROOT / "deploy" / "journald" / "patchproof.conf").read_text().splitlines()
    assert "[Journal]" in lines
    settings = dict(line.split("=", 1) for line in lines if line[:1].isalpha())
    assert settings["Storage"] == "persistent"
    assert {"SystemMaxUse", "MaxRetentionSec", "RateLimitBurst"} <= settings.keys()


def test_the_logs_of_the_proxy_are_rotated_each_by_one_file() -> None:
    text = (ROOT / "deploy" / "logrotate" / "patchproof").read_text()
    rendered = (ROOT / "nginx" / "render.sh").read_text()
    rotated = re.findall(r"(?m)^(/\S+) \{$", text)
    written = re.findall(r"/var/log/nginx/[a-z.]+", rendered)
    # Debian's own file has *.log.
    assert rotated == [path for path in written if not path.endswith(".log")]
