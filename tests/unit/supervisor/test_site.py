"""What a devnet's directory holds and exports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.queue import Queue
from devnet.supervisor.parts import PARTS
from devnet.supervisor.parts.application import QUEUES
from devnet.supervisor.ports import choose_port, is_free
from devnet.supervisor.site import Site, open_site, read_exports


def site_at(path: Path, environ: dict[str, str], **overrides: str) -> Site:
    site = open_site(path, environ, overrides)
    site.choose_ports(part for part in PARTS if PARTS[part].has_port)
    site.make_secrets()
    return site


def test_exports_survive_a_strange_directory(tmp_path: Path) -> None:
    site = site_at(tmp_path / "it's a $HOME\" of `tests`", {})
    site.write_exports()
    assert read_exports(site.env_path) == site.exports()
    assert site.exports()["MAIL_DIR"] == str(site.directory / "mail")


def test_exports_name_what_a_shell_needs(tmp_path: Path) -> None:
    site = site_at(tmp_path, {})
    site.state["keys"] = {
        "issuer": {"publicKeyHex": "02" * 33},
        "funding": {"address": "mjWaSycEt9dz1wQhutBqWFajVWPCK6n6r7"},
    }
    wanted = {
        *("APP_ENV", "BASE_URL", "API_KEY", "JWT_SECRET", "MASTER_SECRET", "JOBS_ASYNC"),
        *("MONGODB_URI", "DB_NAME", "REDIS_URL", "MAIL_DIR", "SMTP_HOST", "SMTP_PORT"),
        *("WOC_BASE_URL", "ARC_URL", "WOC_NETWORK", "CHAIN_CONTROL_URL"),
        *("KMS_SIGN_URL", "KMS_API_KEY", "ISSUER_KEY_IDENTIFIER", "ISSUER_PUBLIC_KEYS"),
        *("UTXO_FUNDING_KEY_IDENTIFIER", "UTXO_FUNDING_ADDRESS"),
        "POS_SHOP_ADDRESSES",
    }
    assert wanted <= site.exports().keys()


def test_overrides_win(tmp_path: Path) -> None:
    assert site_at(tmp_path, {}, JOBS_ASYNC="0").exports()["JOBS_ASYNC"] == "0"


def test_settings_of_the_starter_do_not_reach_the_parts(tmp_path: Path) -> None:
    environ = {"API_KEY": "real", "JWT_SECRET_FILE": "/etc/real", "APP_ENV": "test", "LANG": "C"}
    assert site_at(tmp_path, environ).base_environment() == {"LANG": "C"}


@pytest.mark.parametrize("name", ["MONGODB_URI", "REDIS_URL"])
def test_a_server_outside_is_exported(tmp_path: Path, name: str) -> None:
    site = site_at(tmp_path, {name: "scheme://elsewhere/0"})
    assert site.exports()[name] == "scheme://elsewhere/0"
    assert f"PATCHPROOF_DEVNET_{name}" not in site.exports()


@pytest.mark.parametrize(
    ("name", "attribute"), [("MONGODB_URI", "mongodb_uri"), ("REDIS_URL", "redis_url")]
)
def test_a_server_outside_needs_no_port_of_ours(tmp_path: Path, name: str, attribute: str) -> None:
    # A devnet at its first start, where no part of that name ever ran.
    site = open_site(tmp_path, {name: "scheme://elsewhere/0"}, {})
    assert getattr(site, attribute) == "scheme://elsewhere/0"


def test_a_taken_port_is_not_chosen() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not is_free(listener.getsockname()[1])
    assert is_free(choose_port({}))


def test_the_worker_consumes_every_queue() -> None:
    assert set(QUEUES) == {queue.value for queue in Queue}
