"""The settings that choose broadcasters, their pace and their patience."""

import pytest

from app.config import SettingsError, load_settings

ENVIRON = {
    "APP_ENV": "test",
    "API_KEY": "the-api-key",
    "JWT_SECRET": "a secret for tokens, of forty characters",
    "MASTER_SECRET": "a-master-secret",
    "MONGODB_URI": "mongodb://127.0.0.1:1/",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "KMS_SIGN_URL": "http://127.0.0.1:1",
    "KMS_API_KEY": "the-kms-key",
    "ISSUER_KEY_IDENTIFIER": "issuer",
    "ISSUER_PUBLIC_KEYS": "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa",
    "UTXO_FUNDING_KEY_IDENTIFIER": "funding",
    "UTXO_FUNDING_ADDRESS": "n4XmX91N5FfccY678vaG1ELNtXh6skVES7",
    "WOC_NETWORK": "regtest",
}
ARC = "https://arc.example"


@pytest.mark.parametrize(
    ("changes", "per_second"),
    [
        ({}, 3.0),
        ({"WOC_API_KEY": "mainnet_1"}, 10.0),
        ({"WOC_REQUESTS_PER_SECOND": "20"}, 20.0),
        ({"WOC_REQUESTS_PER_SECOND": "0"}, 0.0),
        ({"WOC_REQUESTS_PER_SECOND": "0.5", "WOC_API_KEY": "mainnet_1"}, 0.5),
    ],
)
def test_the_pace_follows_the_key_unless_it_is_set(
    changes: dict[str, str], per_second: float
) -> None:
    assert load_settings({**ENVIRON, **changes}).chain_requests_per_second == per_second


def test_whatsonchain_alone_broadcasts_unless_told_otherwise() -> None:
    settings = load_settings(ENVIRON)

    assert settings.broadcasters == ("whatsonchain",)
    assert (settings.circuit_failures, settings.circuit_seconds) == (5, 30)


def test_the_order_is_the_operators() -> None:
    settings = load_settings({**ENVIRON, "BROADCASTERS": "arc, whatsonchain", "ARC_URL": ARC})

    assert settings.broadcasters == ("arc", "whatsonchain")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"BROADCASTERS": "arc"}, "ARC_URL"),
        ({"BROADCASTERS": "arc,arc", "ARC_URL": ARC}, "BROADCASTERS"),
        ({"BROADCASTERS": "taal", "ARC_URL": ARC}, "BROADCASTERS"),
        ({"BROADCASTERS": ","}, "BROADCASTERS"),
        ({"ARC_URL": "arc.example"}, "ARC_URL"),
        ({"ARC_TIMEOUT_MS": "2999"}, "ARC_TIMEOUT_MS"),
        ({"WOC_REQUESTS_PER_SECOND": "-1"}, "WOC_REQUESTS_PER_SECOND"),
        ({"WOC_REQUESTS_PER_SECOND": "nan"}, "WOC_REQUESTS_PER_SECOND"),
        ({"CIRCUIT_FAILURES": "0"}, "CIRCUIT_FAILURES"),
    ],
)
def test_a_bad_choice_is_named_at_start(changes: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({**ENVIRON, **changes})
