"""deploy/ with --signer: the signing service is installed, upgraded and rolled back by itself."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devnet.supervisor.ports import choose_port
from devnet.supervisor.probes import find_signer_problem
from devnet.supervisor.site import CHECKOUT
from tests.integration.deployment.machine import (
    LEFT_OUT,
    Machine,
    Units,
    controlled,
    made_machine,
)

# All that the signer may import, and what makes it a release.
PARTS = (
    "app/__init__.py",
    "app/bitcoin",
    "app/domain",
    "signer",
    "wsgi.py",
    "deploy",
    "requirements",
)


class Host:
    """A machine whose only service is the signer."""

    def __init__(self, machine: Machine, control: Path) -> None:
        self.machine = machine
        self.port = choose_port(())
        self.source = machine.root / "source"
        # Under the prefix, settings and data that --signer stands for.
        self.prefix = Path(f"{machine.prefix}-signer")
        self.settings_path = Path(f"{machine.settings_path.parent}-signer") / "env"
        self._environment = {
            "PREFIX": str(self.prefix),
            "ENV_FILE": str(self.settings_path),
            "SERVICE_CONTROL": str(control),
        }

    def run(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        path = self.source / "deploy" / f"{script}.sh"
        return self.machine.run(path, "--signer", *words, **self._environment)

    def succeed(self, script: str, *words: str) -> str:
        done = self.run(script, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def deploy(self, *words: str) -> str:
        return self.succeed("deploy", *words, "--directory", str(self.source))

    @property
    def current(self) -> str:
        return (self.prefix / "current").resolve().name


@pytest.fixture
def host() -> Iterator[Host]:
    with made_machine() as machine, socket.socket() as unused:
        with controlled(Units(machine, unused)) as control:
            made = Host(machine, control)
            _prepare(made)
            yield made


def _prepare(host: Host) -> None:
    for part in PARTS:
        path = CHECKOUT / part
        (host.source / part).parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, host.source / part, ignore=LEFT_OUT)
        else:
            shutil.copy(path, host.source / part)
    host.settings_path.parent.mkdir()
    directory = host.settings_path.parent / "keys"
    directory.mkdir(mode=0o700)
    for name in ("passphrase", "api-key"):
        (directory / name).write_text(secrets.token_hex(16))
    for path in (directory, *directory.iterdir()):
        shutil.chown(path, host.machine.user)
    settings = {
        "SIGNER_KEYSTORE": directory / "keystore.json",
        "SIGNER_PASSPHRASE_FILE": directory / "passphrase",
        "KMS_API_KEY_FILE": directory / "api-key",
        "SIGNER_PORT": host.port,
    }
    lines = [f"{name}={value}" for name, value in settings.items()]
    host.settings_path.write_text("\n".join(lines))
    host.settings_path.chmod(0o600 if os.geteuid() == 0 else 0o400)


def test_the_signer_is_installed_upgraded_and_rolled_back_by_itself(host: Host) -> None:
    refused = host.run("deploy", "--directory", str(host.source))
    assert refused.returncode == 3
    assert "keystore" in refused.stderr

    host.deploy("--prepare")
    host.succeed("manage", "init")
    host.succeed("manage", "add-key", "issuer-1", "--purpose", "issuer")
    host.deploy()
    first = host.current
    assert find_signer_problem(host.port) is None

    (host.source / "README.md").write_text("A second release.")
    host.deploy()
    second = host.current
    assert find_signer_problem(host.port) is None

    assert second != first
    host.succeed("rollback")
    assert host.current == first
    assert find_signer_problem(host.port) is None
