"""Settings from the environment; a secret is taken out of it once it has been read."""

import os
import re
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from app.bitcoin.addresses import Network
from signer.errors import ConfigurationError

MIN_PASSPHRASE_CHARACTERS = 8
Environment = MutableMapping[str, str]


@dataclass(frozen=True)
class ServeSettings:
    """Where and for whom the signer serves."""

    bind: str
    port: int
    api_key: str = field(repr=False)


def keystore_path(environment: Environment) -> Path:
    """Return SIGNER_KEYSTORE; there is no default, so that no key lands in a surprising place."""
    text = environment.get("SIGNER_KEYSTORE", "")
    if not text:
        raise ConfigurationError("Set SIGNER_KEYSTORE to the path of the keystore file.")
    return Path(text)


def network(environment: Environment) -> Network:
    """Return SIGNER_NETWORK: main (default), test or regtest."""
    text = environment.get("SIGNER_NETWORK") or Network.MAIN.value
    try:
        return Network(text)
    except ValueError:
        raise ConfigurationError("SIGNER_NETWORK must be main, test or regtest.") from None


def serve_settings(environment: Environment) -> ServeSettings:
    """Read SIGNER_BIND, SIGNER_PORT and KMS_API_KEY or KMS_API_KEY_FILE."""
    api_key = _take_secret(environment, "KMS_API_KEY")
    if api_key is None:
        raise ConfigurationError("Set KMS_API_KEY or KMS_API_KEY_FILE: callers present this key.")
    port_text = environment.get("SIGNER_PORT") or "4000"
    if re.fullmatch(r"[0-9]{1,5}", port_text) is None or int(port_text) > 65535:
        raise ConfigurationError("SIGNER_PORT must be a number from 0 to 65535.")
    return ServeSettings(environment.get("SIGNER_BIND") or "127.0.0.1", int(port_text), api_key)


def passphrase(environment: Environment, *, is_new: bool = False) -> str:
    """Return the passphrase from SIGNER_PASSPHRASE, SIGNER_PASSPHRASE_FILE or the terminal."""
    text = _take_secret(environment, "SIGNER_PASSPHRASE")
    if text is None:
        text = _ask_passphrase("SIGNER_PASSPHRASE", "Passphrase", is_new=is_new)
    if is_new:
        _check_length(text)
    return text


def next_passphrase(environment: Environment) -> str:
    """Return the passphrase to come, from SIGNER_NEW_PASSPHRASE, its _FILE or the terminal."""
    text = _take_secret(environment, "SIGNER_NEW_PASSPHRASE")
    if text is None:
        text = _ask_passphrase("SIGNER_NEW_PASSPHRASE", "New passphrase", is_new=True)
    _check_length(text)
    return text


def _check_length(text: str) -> None:
    if len(text) < MIN_PASSPHRASE_CHARACTERS:
        raise ConfigurationError(
            f"The passphrase must have at least {MIN_PASSPHRASE_CHARACTERS} characters."
        )


def read_import() -> str:
    """Return the key to import from stdin; at a terminal it is asked for and not shown."""
    if sys.stdin.isatty():
        return str(click.prompt("Private key (hex or WIF)", hide_input=True, err=True))
    return sys.stdin.readline(256)


def _ask_passphrase(name: str, prompt: str, *, is_new: bool) -> str:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        # Without a terminal the prompt would read stdin, where an imported key may be waiting.
        raise ConfigurationError(
            f"Set {name} or {name}_FILE: there is no terminal to ask at."
        ) from None
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=is_new, err=True))


def _take_secret(environment: Environment, name: str) -> str | None:
    """Return NAME or the content of the file NAME_FILE, without its last line break."""
    text, file_name = environment.pop(name, ""), environment.get(f"{name}_FILE", "")
    if text and file_name:
        raise ConfigurationError(f"Set {name} or {name}_FILE, not both.")
    if file_name:
        text = _read_secret_file(name, Path(file_name))
    return text or None


def _read_secret_file(name: str, path: Path) -> str:
    if path.exists() and not path.is_file():
        # A pipe may never say anything.
        raise ConfigurationError(f"{name}_FILE cannot be read: it is no file.")
    try:
        text = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{name}_FILE cannot be read: {reason}.") from None
    if not text:
        raise ConfigurationError(f"The file that {name}_FILE names is empty.")
    return text
