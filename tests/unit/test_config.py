"""Settings from the environment: production by default, every problem in one message."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from app.config import (
    IGNORED_SETTINGS,
    OnchainPayload,
    Settings,
    SettingsError,
    ignored_settings,
    load_settings,
)

ROOT = Path(__file__).resolve().parents[2]
KEY = PrivateKey.from_hex("11" * 32).public_key
REQUIRED = {
    "JWT_SECRET": "j" * 32,
    "MASTER_SECRET": "m" * 32,
    "MONGODB_URI": "mongodb://user:word@db.example/",
    "REDIS_URL": "redis://:word@redis.example/0",
    "KMS_SIGN_URL": "https://kms.example",
    "KMS_API_KEY": "s" * 32,
    "ISSUER_KEY_IDENTIFIER": "issuer",
    "ISSUER_PUBLIC_KEYS": KEY.to_hex(),
    "UTXO_FUNDING_KEY_IDENTIFIER": "funding",
    "UTXO_FUNDING_ADDRESS": KEY.address(Network.MAIN),
}


def environ(**changes: str | None) -> dict[str, str]:
    """A good production environment with these changes; None takes a name away."""
    values = {**REQUIRED, **changes}
    return {name: value for name, value in values.items() if value is not None}


def problem_of(values: dict[str, str]) -> str:
    """What the settings error says."""
    with pytest.raises(SettingsError) as refused:
        load_settings(values)
    return str(refused.value)


def test_production_is_the_default() -> None:
    settings = load_settings(environ())

    assert settings.is_production
    assert settings.woc_network is Network.MAIN
    assert not settings.jobs_async
    assert not settings.unlock_allow_static
    assert settings.onchain_payload is OnchainPayload.COMMITMENT


def test_every_missing_name_is_in_one_message() -> None:
    problem = problem_of({})

    assert "\n" not in problem
    assert [name for name in REQUIRED if f"{name} is missing" not in problem] == []


def test_an_empty_value_is_a_missing_one() -> None:
    assert "MASTER_SECRET is missing" in problem_of(environ(MASTER_SECRET=""))


def test_the_api_key_may_be_left_to_the_database() -> None:
    assert load_settings(environ()).api_key is None
    assert load_settings(environ(API_KEY="")).api_key is None


def test_missing_and_bad_settings_are_named_together() -> None:
    problem = problem_of(
        environ(
            MASTER_SECRET=None,
            ISSUER_PUBLIC_KEYS="02ff",
            UTXO_FUNDING_ADDRESS="1BoatSLRHtKNngkdXEeobR76b53LETtpyX",
            KMS_SIGN_URL="ftp://kms.example",
            MONGODB_URI="mongodb://db.example/",
            REDIS_URL="redis://redis.example/0",
            JWT_SECRET="short",
            UTXO_MIN_POOL="ten",
            BROADCASTERS="arc,pigeon",
        )
    )

    for name in (
        "MASTER_SECRET",
        "ISSUER_PUBLIC_KEYS",
        "UTXO_FUNDING_ADDRESS",
        "KMS_SIGN_URL",
        "MONGODB_URI",
        "REDIS_URL",
        "JWT_SECRET",
        "UTXO_MIN_POOL",
        "BROADCASTERS",
    ):
        assert name in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UTXO_MIN_POOL", "0"),
        ("UTXO_MIN_POOL", "10x"),
        ("WOC_TIMEOUT_MS", "-1"),
        ("LOG_LEVEL", "loud"),
        ("APP_ENV", "staging"),
        ("WOC_NETWORK", "mainnet"),
        ("JOBS_ASYNC", "perhaps"),
        ("ONCHAIN_PAYLOAD", "everything"),
        ("POOL_SELECTION", "smallest"),
        ("ANCHOR_BATCH_SIZE", "501"),
        ("ISSUER_PUBLIC_KEYS", ","),
        ("ISSUER_PUBLIC_KEYS", "04" + "11" * 64),
        ("WOC_BASE_URL", "api.whatsonchain.com"),
        ("CLAIM_INTENT_TTL_MS", "999"),
        ("CLAIM_INTENT_TTL_MS", "3600001"),
        ("POS_SHOP_ADDRESSES", "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK8"),
        ("POS_SHOP_ADDRESSES", "n4XmX91N5FfccY678vaG1ELNtXh6skVES7"),
    ],
)
def test_a_bad_value_is_named(name: str, value: str) -> None:
    assert name in problem_of(environ(**{name: value}))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("", 20),
        ("0", 20),
        ("000", 20),
        ("NaN", 20),
        ("many", 20),
        ("  ", 20),
        (".5", 20),
        ("7", 7),
        (" 7", 7),
        ("7x", 7),
        ("7.9", 7),
        ("+7", 7),
    ],
)
def test_a_limit_is_read_as_older_files_have_it(value: str, read: int) -> None:
    assert load_settings(environ(SVD_BEGIN_MAX=value)).svd_begin_max == read


@pytest.mark.parametrize("value", ["-1", "-1x", "1000000001", "9" * 5000])
def test_a_limit_that_makes_no_sense_is_named(value: str) -> None:
    assert "SVD_BEGIN_WINDOW_MS" in problem_of(environ(SVD_BEGIN_WINDOW_MS=value))


@pytest.mark.parametrize(
    ("name", "window_ms", "maximum"),
    [
        ("public_api", 60_000, 60),
        ("svd_begin", 60_000, 20),
        ("svd_complete", 60_000, 30),
        ("svd_canary", 60_000, 30),
        ("auth_request", 60_000, 1),
        ("auth_submit", 600_000, 5),
    ],
)
def test_limits_are_those_of_the_contract(name: str, window_ms: int, maximum: int) -> None:
    settings = load_settings(environ())

    assert getattr(settings, f"{name}_window_ms") == window_ms
    assert getattr(settings, f"{name}_max") == maximum


def test_no_secret_stands_in_the_message() -> None:
    problem = problem_of(
        environ(
            MONGODB_URI="mongodb://db.example/?word=hunter2",
            JWT_SECRET="hunter2",
            MASTER_SECRET=None,
        )
    )

    assert "hunter2" not in problem


def test_a_secret_does_not_show_when_settings_are_printed() -> None:
    shown = repr(load_settings(environ()))

    for name in ("KMS_API_KEY", "JWT_SECRET", "MASTER_SECRET", "MONGODB_URI", "REDIS_URL"):
        assert REQUIRED[name] not in shown


def test_a_value_comes_from_the_file_that_name_file_names(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("from a file\n")

    settings = load_settings(environ(KMS_API_KEY=None, KMS_API_KEY_FILE=str(path)))

    assert settings.kms_api_key.get_secret_value() == "from a file"


def test_name_and_name_file_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("from a file")

    problem = problem_of(environ(KMS_API_KEY_FILE=str(path), JWT_SECRET=None))

    assert "KMS_API_KEY and KMS_API_KEY_FILE" in problem
    assert "JWT_SECRET is missing" in problem


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"\xff\xfe")
    silent = tmp_path / "silent"
    os.mkfifo(silent)

    for bad in (str(tmp_path / "nothing"), str(path), str(tmp_path), str(silent)):
        problem = problem_of(environ(KMS_API_KEY=None, KMS_API_KEY_FILE=bad, JWT_SECRET=None))
        assert "KMS_API_KEY_FILE can't be read" in problem
        assert "KMS_API_KEY is missing" not in problem
        assert "JWT_SECRET is missing" in problem


def test_an_empty_file_is_a_missing_value(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("\n")

    assert "API_KEY" in problem_of(environ(API_KEY_FILE=str(path)))


@pytest.mark.parametrize(
    ("older", "name"),
    [
        ("FUNDING_KEY_IDENTIFIER", "UTXO_FUNDING_KEY_IDENTIFIER"),
        ("FUNDING_ADDRESS", "UTXO_FUNDING_ADDRESS"),
        ("MIN_UTXO_COUNT", "UTXO_MIN_POOL"),
        ("COMMIT_SHA", "DEPLOY_SHA"),
    ],
)
def test_an_older_name_is_read_and_the_newer_one_wins(older: str, name: str) -> None:
    values = {
        "FUNDING_KEY_IDENTIFIER": ("a", "b"),
        "FUNDING_ADDRESS": (
            KEY.address(Network.MAIN),
            PrivateKey.from_hex("22" * 32).public_key.address(Network.MAIN),
        ),
        "MIN_UTXO_COUNT": ("7", "9"),
        "COMMIT_SHA": ("abc", "def"),
    }[older]

    def read(**changes: str | None) -> str:
        return str(getattr(load_settings(environ(**changes)), name.lower()))

    assert read(**{name: None, older: values[0]}) == values[0]
    assert read(**{name: values[1], older: values[0]}) == values[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MONGODB_URI", "mongodb://db.example/"),
        ("MONGODB_URI", "mongodb://user@db.example/"),
        ("REDIS_URL", "redis://redis.example/0"),
        ("WOC_NETWORK", "regtest"),
        ("JWT_SECRET", "change-me"),
        ("JWT_SECRET", "short"),
    ],
)
def test_production_refuses_what_development_may_have(name: str, value: str) -> None:
    address = KEY.address(Network.TEST if value == "regtest" else Network.MAIN)
    values = environ(**{name: value, "UTXO_FUNDING_ADDRESS": address})

    assert name in problem_of(values)

    assert not load_settings({**values, "APP_ENV": "development"}).is_production


def test_o5_a_redis_password_may_stand_in_the_url_or_apart() -> None:
    apart = environ(REDIS_URL="redis://redis.example/0", REDIS_PASSWORD="word")

    assert load_settings(apart).redis_password is not None
    assert load_settings(environ()).redis_password is None


def test_f20_the_funding_address_is_of_our_network() -> None:
    assert "UTXO_FUNDING_ADDRESS" in problem_of(environ(WOC_NETWORK="test"))

    address = KEY.address(Network.TEST)
    settings = load_settings(environ(WOC_NETWORK="test", UTXO_FUNDING_ADDRESS=address))
    assert settings.chain_url.endswith("/test")


def test_s13_no_address_is_the_shops_unless_it_is_named() -> None:
    first, second = KEY.address(Network.MAIN), "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9"

    assert load_settings(environ()).pos_shop_addresses == ()
    named = load_settings(environ(POS_SHOP_ADDRESSES=f" {first} , {second},"))
    assert named.pos_shop_addresses == (first, second)


def test_what_nothing_reads_is_listed_and_harms_nothing() -> None:
    values = environ(FEE_SAT_PER_BYTE="1", NODE_ENV="production", SOMETHING_ELSE="x")

    assert ignored_settings(values) == ["FEE_SAT_PER_BYTE", "NODE_ENV"]
    assert load_settings(values).is_production


def test_o12_a_signer_whose_host_is_called_mock_is_one_as_any_other() -> None:
    settings = load_settings(environ(KMS_SIGN_URL="https://kms-mock.example"))

    assert settings.kms_url == "https://kms-mock.example"
    assert settings.is_production


def test_what_the_older_system_read_by_another_name_is_to_be_renamed() -> None:
    problem = problem_of(environ(REDIS_URL=None, REDIS_ENDPOINT="redis://:x@127.0.0.1/0"))

    assert "REDIS_URL is missing (rename REDIS_ENDPOINT)" in problem
    assert ignored_settings({"PORT": "3001", "BIND": "::"}) == ["BIND", "PORT"]


def test_no_setting_is_both_read_and_ignored() -> None:
    read = {name.upper() for name in Settings.model_fields}

    assert read & IGNORED_SETTINGS == set()


def test_o3_a_process_without_its_settings_ends_with_1_and_says_why() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "API_KEY": "x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "JWT_SECRET is missing" in done.stderr
    assert "Traceback" not in done.stderr
