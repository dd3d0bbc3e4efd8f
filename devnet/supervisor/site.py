"""One devnet's directory: its ports, its secrets, and what it tells its parts and its users."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from devnet.supervisor.files import make_private_directory, write_private
from devnet.supervisor.ports import choose_port, is_free

CHECKOUT = Path(__file__).resolve().parents[2]
SECRETS = (
    "api_key",
    "jwt_secret",
    "master_secret",
    "kms_api_key",
    "redis_password",
    "signer_passphrase",
)
DIRECTORY_VARIABLE = "PATCHPROOF_DEVNET_DIR"
# Settings that may name a server outside the devnet, which is then used instead of its own.
EXTERNAL_SETTINGS = ("MONGODB_URI", "REDIS_URL")
# Tests, the demo and a developer's tools all come from one address. Mailed codes are limited as in
# production: nobody asks for two a minute.
GENEROUS_LIMITS = dict.fromkeys(
    (
        "PUBLIC_API_MAX",
        "SVD_BEGIN_MAX",
        "SVD_COMPLETE_MAX",
        "SVD_CANARY_MAX",
        "AUTH_ADDRESS_MAX",
        "CLAIM_INTENT_MAX",
        "READING_MAX",
        "POLLING_MAX",
        "WRITING_MAX",
        "REFUSED_KEY_MAX",
    ),
    "1000000",
)
# The exports repeat the address of a devnet's own server under this prefix, so that a shell that
# has sourced them is not taken for one that names a server outside.
OWN_PREFIX = "PATCHPROOF_DEVNET_"


class Site:
    """Where everything of one devnet is, and by which addresses its parts reach one another."""

    def __init__(
        self, directory: Path, environ: Mapping[str, str], overrides: Mapping[str, str]
    ) -> None:
        self.directory = directory.resolve()
        self.environ = environ
        self.overrides = overrides
        self.state: dict[str, Any] = _read_json(self.directory / "state.json")
        self.external = {
            name: environ[name]
            for name in EXTERNAL_SETTINGS
            if environ.get(name) and environ[name] != environ.get(OWN_PREFIX + name)
        }

    @property
    def env_path(self) -> Path:
        """The shell file with the exports."""
        return self.directory / "env"

    @property
    def lock_path(self) -> Path:
        """Held by whoever starts or stops parts."""
        return self.directory / "lock"

    def data_directory(self, part: str) -> Path:
        return self.directory / part

    def log_path(self, part: str) -> Path:
        return self.directory / "logs" / f"{part}.log"

    def record_path(self, part: str) -> Path:
        return self.directory / "run" / part

    def secret_path(self, name: str) -> Path:
        return self.directory / "secrets" / name

    def secret(self, name: str) -> str:
        return self.secret_path(name).read_text(encoding="utf-8").strip()

    def make_secrets(self) -> None:
        """Make the secrets that are not there yet, 32 random bytes in hex each."""
        for name in SECRETS:
            path = self.secret_path(name)
            if not path.exists():
                write_private(path, secrets.token_hex(32))

    def has_port(self, part: str) -> bool:
        return part in self.state.get("ports", {})

    def port(self, part: str) -> int:
        return int(self.state["ports"][part])

    def choose_ports(self, parts: Iterable[str]) -> None:
        """Give each part the port that it had, or another one where somebody has taken it.

        Only for parts that don't run: a running part's port is not free.
        """
        ports: dict[str, int] = self.state.setdefault("ports", {})
        for part in parts:
            if part not in ports or not is_free(ports[part]):
                ports[part] = choose_port(ports.values())
        self.save()

    def save(self) -> None:
        write_private(self.directory / "state.json", json.dumps(self.state, indent=2) + "\n")

    @property
    def mongodb_uri(self) -> str:
        if "MONGODB_URI" in self.external:
            return self.external["MONGODB_URI"]
        return f"mongodb://127.0.0.1:{self.port('database')}/?directConnection=true"

    @property
    def redis_url(self) -> str:
        if "REDIS_URL" in self.external:
            return self.external["REDIS_URL"]
        return f"redis://:{self.secret('redis_password')}@127.0.0.1:{self.port('redis')}/0"

    def exports(self) -> dict[str, str]:
        """What a shell, a test or the application needs to use this devnet."""
        ports = self.state.get("ports", {})
        values = {"APP_ENV": "development", "JOBS_ASYNC": "1", "WOC_NETWORK": "regtest"}
        # A chain of our own has no limit to keep.
        values["WOC_REQUESTS_PER_SECOND"] = "0"
        # Whoever switches its faults on wants to see the recovery too.
        values["CIRCUIT_SECONDS"] = "2"
        values["TRACK_INTERVAL_SECONDS"] = "1"
        values |= GENEROUS_LIMITS
        values |= self._database_exports(ports) | self._chain_exports(ports)
        values |= self._mail_exports(ports) | self._signer_exports(ports)
        for name in ("api_key", "jwt_secret", "master_secret"):
            values[name.upper()] = self.secret(name)
        if "web" in ports:
            values["BASE_URL"] = values["PUBLIC_BASE_URL"] = f"http://127.0.0.1:{ports['web']}"
        values[DIRECTORY_VARIABLE] = str(self.directory)
        return values | dict(self.overrides)

    def base_environment(self) -> dict[str, str]:
        """The starter's environment without what the devnet decides itself."""
        decided = self.exports().keys() | {"SIGNER_PASSPHRASE", "APP_ENV"}
        decided |= {f"{name}_FILE" for name in decided}
        return {name: value for name, value in self.environ.items() if name not in decided}

    def write_exports(self) -> None:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.exports().items()]
        write_private(self.env_path, "\n".join([*lines, ""]))

    def _database_exports(self, ports: Mapping[str, int]) -> dict[str, str]:
        values = dict(self.external)
        if "database" in ports and "MONGODB_URI" not in values:
            values |= _own("MONGODB_URI", self.mongodb_uri)
        if "redis" in ports and "REDIS_URL" not in values:
            values |= _own("REDIS_URL", self.redis_url)
        if "MONGODB_URI" in values:
            values["DB_NAME"] = self.state["db_name"]
        return values

    def _chain_exports(self, ports: Mapping[str, int]) -> dict[str, str]:
        if "chain" not in ports:
            return {}
        base = f"http://127.0.0.1:{ports['chain']}"
        return {
            "WOC_BASE_URL": f"{base}/v1/bsv/test",
            "ARC_URL": f"{base}/arc",
            "CHAIN_CONTROL_URL": f"{base}/control",
        }

    def _mail_exports(self, ports: Mapping[str, int]) -> dict[str, str]:
        if "mail" not in ports:
            return {}
        return {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(ports["mail"]),
            "EMAIL_FROM": "PatchProof <codes@patchproof.example>",
            "MAIL_DIR": str(self.data_directory("mail")),
        }

    def _signer_exports(self, ports: Mapping[str, int]) -> dict[str, str]:
        keys = self.state.get("keys")
        if "signer" not in ports or keys is None:
            return {}
        return {
            "KMS_SIGN_URL": f"http://127.0.0.1:{ports['signer']}",
            "KMS_API_KEY": self.secret("kms_api_key"),
            "ISSUER_KEY_IDENTIFIER": "issuer",
            "ISSUER_PUBLIC_KEYS": keys["issuer"]["publicKeyHex"],
            "UTXO_FUNDING_KEY_IDENTIFIER": "funding",
            "UTXO_FUNDING_ADDRESS": keys["funding"]["address"],
            "UTXO_CHANGE_ADDRESS": keys["funding"]["address"],
            # The till sells what the service itself owns.
            "POS_SHOP_ADDRESSES": keys["funding"]["address"],
        }


def open_site(directory: Path, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Site:
    """Open the directory, made with a database name of its own the first time."""
    make_private_directory(directory)
    site = Site(directory, environ, overrides)
    site.state.setdefault("db_name", "patchproof_devnet")
    return site


def read_exports(path: Path) -> dict[str, str]:
    """The names and values of an exports file; empty when there is none."""
    if not path.exists():
        return {}
    words = (shlex.split(line) for line in path.read_text(encoding="utf-8").splitlines())
    return dict(word[1].split("=", 1) for word in words if len(word) == 2)


def _own(name: str, value: str) -> dict[str, str]:
    return {name: value, OWN_PREFIX + name: value}


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
