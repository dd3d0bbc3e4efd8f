"""The example files name every setting, and their defaults are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from app.config import Settings, load_settings
from signer import settings as signer_settings
from signer.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
LINE = re.compile(r"(#?)([A-Z][A-Z0-9_]*)=(.*)")
# Of gunicorn's configuration.
NOT_OF_THE_APPLICATION = {
    "WEB_WORKERS",
    "WEB_THREADS",
    "WEB_BIND",
    "PROMETHEUS_MULTIPROC_DIR",
    "FORWARDED_ALLOW_IPS",
}


def read(name: str, *, is_default: bool) -> dict[str, str]:
    """The lines that stand for a default, or those that are set."""
    lines = [LINE.fullmatch(line) for line in (DEPLOY / name).read_text().splitlines()]
    return {line[2]: line[3] for line in lines if line and bool(line[1]) is is_default}


@pytest.fixture
def filled_in() -> dict[str, str]:
    """The file with what an operator has to put in."""
    key = PrivateKey.generate().public_key
    values = {
        "JWT_SECRET": "x" * 32,
        "MASTER_SECRET": "x" * 32,
        "KMS_API_KEY": "x" * 32,
        "ISSUER_PUBLIC_KEYS": key.to_hex(),
        "UTXO_FUNDING_ADDRESS": key.address(Network.MAIN),
    }
    given = read("env.example", is_default=False)
    assert {name for name, value in given.items() if not value} == set(values)
    return given | values


def test_every_setting_is_in_the_example_once() -> None:
    names = [
        line[2]
        for line in map(LINE.fullmatch, (DEPLOY / "env.example").read_text().splitlines())
        if line
    ]
    fields = {name.upper() for name in Settings.model_fields}
    assert sorted(names) == sorted(fields | NOT_OF_THE_APPLICATION)


def test_o16_the_example_starts_and_its_defaults_are_those_of_the_code(
    filled_in: dict[str, str],
) -> None:
    defaults = read("env.example", is_default=True)

    settings = load_settings(filled_in)

    assert load_settings(filled_in | defaults) == settings
    for name, field in Settings.model_fields.items():
        is_empty = field.default is None or field.default == ()
        if name.upper() in defaults:
            assert (defaults[name.upper()] == "") == is_empty, name


def test_what_the_example_leaves_to_the_operator_is_what_is_required(
    filled_in: dict[str, str],
) -> None:
    required = {
        name.upper() for name, field in Settings.model_fields.items() if field.is_required()
    }
    # Behind nginx and with workers these differ from the defaults.
    assert set(filled_in) == required | {"PUBLIC_BASE_URL", "TRUSTED_PROXIES", "JOBS_ASYNC"}


def test_every_setting_of_gunicorn_is_in_the_example() -> None:
    text = (DEPLOY / "gunicorn.conf.py").read_text()
    read_there = set(re.findall(r'environ\.get\("([A-Z_]+)"\)', text))
    # systemd gives that one.
    assert read_there - {"RUNTIME_DIRECTORY"} == NOT_OF_THE_APPLICATION


def test_the_signers_example_has_its_settings_and_defaults() -> None:
    source = (ROOT / "signer" / "settings.py").read_text()
    # For one command at the terminal, never for a process that stays.
    plain = set(re.findall(r'"((?:SIGNER|KMS)_[A-Z_]+)"', source)) - {"SIGNER_NEW_PASSPHRASE"}
    secrets = {"SIGNER_PASSPHRASE", "KMS_API_KEY"}
    names = plain | secrets | {f"{name}_FILE" for name in secrets}
    given = read("signer.env.example", is_default=False)
    defaults = read("signer.env.example", is_default=True)
    assert set(given) | set(defaults) == names
    assert not set(given) & set(defaults)

    environment = {**defaults, "KMS_API_KEY": "x"}
    bare = {"KMS_API_KEY": "x"}
    assert signer_settings.serve_settings(environment) == signer_settings.serve_settings(bare)
    assert signer_settings.network(defaults) == signer_settings.network({})
    with pytest.raises(ConfigurationError):
        signer_settings.keystore_path(defaults)
