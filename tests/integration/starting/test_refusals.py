"""No process starts without what it needs: it ends within 30 seconds and says what is missing."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey, PublicKey
from app.config import Settings
from tests.integration.starting.processes import (
    NOBODY,
    PROCESSES,
    Case,
    Environ,
    end_all,
    list_problems,
)

STRANGER = PrivateKey.from_hex("77" * 32).public_key
REQUIRED = [name.upper() for name, field in Settings.model_fields.items() if field.is_required()]
# What a name of the service is called in the addresses of the three services.
SERVICES = ("MONGODB_URI", "REDIS_URL", "KMS_SIGN_URL")

EACH_PROCESS = pytest.mark.parametrize("process", PROCESSES)


def at(environ: Environ, setting: str, place: str) -> dict[str, str | None]:
    """The setting with another host and port, and all else of it as it is."""
    url = urlsplit(environ[setting])
    user, at_sign, _ = url.netloc.rpartition("@")
    return {setting: url._replace(netloc=f"{user}{at_sign}{place}").geturl()}


def wrong_for_each(environ: Environ, funding_key: PublicKey) -> list[Case]:
    """A wrong value for each required setting, found by the settings or by whom it is about."""
    mongodb, redis = environ["MONGODB_URI"], environ["REDIS_URL"]
    return [
        Case({"JWT_SECRET": "change-me"}, "JWT_SECRET needs at least 32 characters"),
        Case({"MASTER_SECRET": None, "MASTER_SECRET_FILE": "/none"}, "MASTER_SECRET_FILE can't"),
        Case({"MONGODB_URI": mongodb.replace("a-word", "no-word")}, "MONGODB_URI: the database"),
        Case({"REDIS_URL": redis.replace("redis://:", "redis://:no")}, "REDIS_URL: Redis refuses"),
        Case({"KMS_SIGN_URL": "mock"}, "KMS_SIGN_URL must be an http(s) URL"),
        Case({"KMS_API_KEY": "another"}, "KMS_API_KEY: the signer at KMS_SIGN_URL refuses it"),
        Case({"ISSUER_KEY_IDENTIFIER": "nobody"}, "ISSUER_KEY_IDENTIFIER: the signer holds no key"),
        Case({"ISSUER_PUBLIC_KEYS": STRANGER.to_hex()}, "ISSUER_PUBLIC_KEYS lacks 0"),
        Case(
            {"UTXO_FUNDING_KEY_IDENTIFIER": "nobody"},
            "UTXO_FUNDING_KEY_IDENTIFIER: the signer holds no key",
        ),
        Case(
            {"UTXO_FUNDING_ADDRESS": STRANGER.address(Network.TEST)},
            f"UTXO_FUNDING_ADDRESS must be {funding_key.address(Network.TEST)}",
        ),
    ]


def wrong_in_other_ways(environ: Environ, funding_key: PublicKey) -> list[Case]:
    """What every process finds in the same way, so that one is enough to show it."""
    naked = f"mongodb://{urlsplit(environ['MONGODB_URI']).netloc.rpartition('@')[2]}/"
    main = {"WOC_NETWORK": "main", "POS_SHOP_ADDRESSES": None, "UTXO_CHANGE_ADDRESS": None}
    return [
        Case({"API_KEY": None}, "patchproof: there is no API key: set API_KEY"),
        Case({"MONGODB_URI": naked}, "MONGODB_URI must carry credentials"),
        Case({"MONGODB_URI": "mongodb://a:b@host:port/"}, "MONGODB_URI can't be used"),
        Case({"REDIS_URL": "http://:word@127.0.0.1/"}, "REDIS_URL can't be used"),
        Case({"KMS_API_KEY": "schl\u00fcssel"}, "KMS_API_KEY must be of ASCII characters"),
        Case(main, "UTXO_FUNDING_ADDRESS The address does not belong"),
        Case(
            {**main, "UTXO_FUNDING_ADDRESS": funding_key.address(Network.MAIN)},
            "WOC_NETWORK is main, but the service is on chain 'test'",
        ),
    ]


@EACH_PROCESS
def test_o3_each_required_setting_that_is_missing_is_named(
    process: str, production: Environ, tmp_path: Path
) -> None:
    cases = [Case({name: None}, f": bad settings: {name} is missing") for name in REQUIRED]

    ended = end_all(PROCESSES[process], production, cases, tmp_path)

    assert len(REQUIRED) == 10
    assert list_problems(ended) == []


@EACH_PROCESS
def test_o3_each_required_setting_that_is_wrong_is_named(
    process: str, production: Environ, funding_key: PublicKey, tmp_path: Path
) -> None:
    cases = wrong_for_each(production, funding_key)

    ended = end_all(PROCESSES[process], production, cases, tmp_path)

    named = " ".join(name for case in cases for name in case.changes)
    assert [name for name in REQUIRED if name not in named] == []
    assert list_problems(ended) == []


def test_o5_f27_what_does_not_fit_together_is_named(
    production: Environ, funding_key: PublicKey, tmp_path: Path
) -> None:
    cases = wrong_in_other_ways(production, funding_key)

    ended = end_all(PROCESSES["web"], production, cases, tmp_path)

    assert list_problems(ended) == []


@EACH_PROCESS
def test_o4_each_service_that_is_dead_or_never_answers_is_named(
    process: str, production: Environ, hole: int, tmp_path: Path
) -> None:
    cases = [
        Case(at(production, setting, place), f"patchproof: {setting}: ")
        for place in (NOBODY, f"127.0.0.1:{hole}")
        for setting in SERVICES
    ]
    if process == "web":
        cases.append(Case({"KMS_SVD_URL": f"http://127.0.0.1:{hole}"}, "KMS_SVD_URL: the signer"))

    # They mostly wait.
    ended = end_all(PROCESSES[process], production, cases, tmp_path, at_once=len(cases))

    assert list_problems(ended) == []
    assert [each for each in ended if "a-word-of-the-database" in each.output] == []


def test_a_release_whose_migrations_have_not_run_does_not_start(
    production: Environ, tmp_path: Path
) -> None:
    cases = [Case({"DB_NAME": "patchproof_new"}, "run manage.py db migrate\n")]

    ended = end_all(PROCESSES["worker"], production, cases, tmp_path)

    assert list_problems(ended) == []


def test_an_env_file_of_the_older_system_is_told_what_it_lacks(
    production: Environ, tmp_path: Path
) -> None:
    """Its names are read; what it never had, or called otherwise, is named."""
    older = {
        "APP_ENV": None,
        "NODE_ENV": "production",
        "PORT": "3001",
        "INTERNAL_SIGNER_ENABLED": "0",
        "UTXO_FEE_PER_BYTE": "0.5",
        "ISSUER_PUBLIC_KEYS": None,
        "UTXO_FUNDING_ADDRESS": None,
        "FUNDING_ADDRESS": production["UTXO_FUNDING_ADDRESS"],
        "REDIS_URL": None,
        "REDIS_CONNECTION_STRING": production["REDIS_URL"],
    }
    cases = [
        Case(older, "REDIS_URL is missing (rename REDIS_CONNECTION_STRING); ISSUER_PUB"),
        Case({**older, "REDIS_URL": production["REDIS_URL"]}, ": ISSUER_PUBLIC_KEYS is missing\n"),
    ]

    ended = end_all(PROCESSES["web"], production, cases, tmp_path)

    assert list_problems(ended) == []
