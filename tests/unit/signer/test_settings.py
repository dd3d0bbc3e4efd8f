"""Settings: where secrets come from, and one sentence for each that is missing."""

from pathlib import Path

import pytest

from app.bitcoin.addresses import Network
from signer import settings
from signer.errors import ConfigurationError


def test_secret_leaves_the_environment_once_read() -> None:
    environment = {"SIGNER_PASSPHRASE": "correct horse", "KMS_API_KEY": "bearer"}
    assert settings.passphrase(environment) == "correct horse"
    assert settings.serve_settings(environment).api_key == "bearer"
    assert environment == {}


def test_secret_file_loses_only_its_last_line_break(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b" two words \r\n")
    assert settings.passphrase({"SIGNER_PASSPHRASE_FILE": str(file)}) == " two words "


def test_secret_given_twice_is_refused(tmp_path: Path) -> None:
    environment = {"SIGNER_PASSPHRASE": "a", "SIGNER_PASSPHRASE_FILE": str(tmp_path)}
    with pytest.raises(ConfigurationError, match="not both"):
        settings.passphrase(environment)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "not UTF-8")],
)
def test_unusable_secret_file_is_one_sentence(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        settings.passphrase({"SIGNER_PASSPHRASE_FILE": str(file)})


def test_new_passphrase_must_not_be_short() -> None:
    with pytest.raises(ConfigurationError, match="at least 8 characters"):
        settings.passphrase({"SIGNER_PASSPHRASE": "1234567"}, is_new=True)
    assert settings.passphrase({"SIGNER_PASSPHRASE": "1234567"}) == "1234567"


def test_defaults_of_serving() -> None:
    serving = settings.serve_settings({"KMS_API_KEY": "bearer"})
    assert (serving.bind, serving.port) == ("127.0.0.1", 4000)
    assert "bearer" not in repr(serving)


def test_serving_needs_a_key() -> None:
    with pytest.raises(ConfigurationError, match="KMS_API_KEY"):
        settings.serve_settings({"KMS_API_KEY": ""})


@pytest.mark.parametrize("port", ["x", "-1", "65536", "4000.0", "\u0664", "1" * 5000])
def test_unusable_port_is_refused(port: str) -> None:
    with pytest.raises(ConfigurationError, match="SIGNER_PORT"):
        settings.serve_settings({"KMS_API_KEY": "k", "SIGNER_PORT": port})


def test_keystore_path_has_no_default() -> None:
    with pytest.raises(ConfigurationError, match="SIGNER_KEYSTORE"):
        settings.keystore_path({})
    assert settings.keystore_path({"SIGNER_KEYSTORE": "/a/b"}) == Path("/a/b")


def test_network_is_main_unless_named() -> None:
    assert settings.network({}) is Network.MAIN
    assert settings.network({"SIGNER_NETWORK": "regtest"}) is Network.REGTEST
    with pytest.raises(ConfigurationError, match="SIGNER_NETWORK"):
        settings.network({"SIGNER_NETWORK": "moon"})
