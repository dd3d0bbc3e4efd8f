"""How mail goes out is told by settings, and what can't work is refused at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import extensions
from app.clients.mail import Tls
from app.config import SettingsError, load_settings
from tests.unit.test_config import environ, problem_of

SERVER = {"SMTP_HOST": "mail.example", "EMAIL_FROM": "codes@shop.example"}
LOGIN = {"SMTP_USER": "codes@shop.example", "SMTP_PASS": "a word for mail"}


def tls_of(**changes: str) -> Tls:
    """When connections of a service with these settings become TLS."""
    return extensions._tls(load_settings(environ(**SERVER, **changes)))


def test_no_mail_is_needed_to_start() -> None:
    settings = load_settings(environ())

    assert settings.smtp_host is None
    assert settings.smtp_port == 587
    assert settings.verify_code_salt_rounds == 10


@pytest.mark.parametrize(
    ("changes", "tls"),
    [
        ({}, Tls.OFFERED),
        ({"SMTP_PORT": "25"}, Tls.OFFERED),
        ({"SMTP_PORT": "465"}, Tls.IMPLICIT),
        ({"SMTP_PORT": "465", **LOGIN}, Tls.IMPLICIT),
        (LOGIN, Tls.REQUIRED),
        ({"SMTP_PORT": "2525", "SMTP_SECURITY": "tls"}, Tls.IMPLICIT),
        ({"SMTP_PORT": "465", "SMTP_SECURITY": "starttls"}, Tls.REQUIRED),
        ({"SMTP_SECURITY": "none"}, Tls.NEVER),
    ],
)
def test_tls_goes_by_the_port_and_by_the_password(changes: dict[str, str], tls: Tls) -> None:
    assert tls_of(**changes) is tls


@pytest.mark.parametrize("name", ["SMTP_PASS", "SMTP_PASSWORD"])
def test_the_password_has_two_names_and_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "word"
    path.write_text("a word for mail\n")

    for changes in ({name: "a word for mail"}, {f"{name}_FILE": str(path)}):
        settings = load_settings(environ(**SERVER, SMTP_USER="shop", **changes))
        assert settings.smtp_pass is not None
        assert settings.smtp_pass.get_secret_value() == "a word for mail"
        assert "a word for mail" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("SMTP_PASS", {"SMTP_USER": "codes@shop.example"}),
        ("SMTP_PASS", {"SMTP_PASS": "a word for mail"}),
        ("SMTP_SECURITY", {**LOGIN, "SMTP_SECURITY": "none"}),
        ("SMTP_SECURITY", {"SMTP_SECURITY": "ssl"}),
        ("SMTP_PORT", {"SMTP_PORT": "0"}),
        ("SMTP_PORT", {"SMTP_PORT": "65536"}),
        ("SMTP_TIMEOUT_MS", {"SMTP_TIMEOUT_MS": "0"}),
        ("SMTP_TIMEOUT_MS", {"SMTP_TIMEOUT_MS": "60001"}),
        ("SMTP_CA_FILE", {"SMTP_CA_FILE": "/nowhere/ca.pem"}),
        ("SMTP_CA_FILE", {"SMTP_CA_FILE": __file__}),
        ("EMAIL_FROM", {"EMAIL_FROM": "shop"}),
        ("EMAIL_FROM", {"EMAIL_FROM": "codes@shop.example\r\nBcc: thief@away.example"}),
        ("EMAIL_FROM", {"SMTP_HOST": "mail.example", "EMAIL_FROM": ""}),
        ("EMAIL_FROM", {"SMTP_HOST": "mail.example", "SMTP_USER": "shop", "SMTP_PASS": "word"}),
        ("BRAND_NAME", {"BRAND_NAME": "Shop\r\nBcc: thief@away.example"}),
        ("BRAND_NAME", {"BRAND_NAME": "S" * 81}),
        ("VERIFY_CODE_SALT_ROUNDS", {"VERIFY_CODE_SALT_ROUNDS": "3"}),
        ("VERIFY_CODE_SALT_ROUNDS", {"VERIFY_CODE_SALT_ROUNDS": "15"}),
        ("MAIL_MAX_ATTEMPTS", {"MAIL_MAX_ATTEMPTS": "0"}),
    ],
)
def test_what_can_not_work_is_named_at_the_start(name: str, changes: dict[str, str]) -> None:
    assert name in problem_of(environ(**changes))


def test_mails_come_from_the_user_unless_told_otherwise() -> None:
    assert load_settings(environ(SMTP_HOST="mail.example", **LOGIN)).sender == "codes@shop.example"
    named = load_settings(environ(**{**SERVER, "EMAIL_FROM": "Shop <hello@shop.example>"}, **LOGIN))
    assert named.sender == "Shop <hello@shop.example>"


def test_a_developer_needs_no_sender() -> None:
    values = environ(APP_ENV="development", SMTP_HOST="127.0.0.1")

    assert load_settings(values).sender == "codes@patchproof.example"
    with pytest.raises(SettingsError, match="EMAIL_FROM"):
        load_settings({**values, "APP_ENV": "production"})


def test_a_sending_is_never_taken_over_while_its_timeouts_run() -> None:
    """Three timeouts bound one mail, and finding the server's name may take some seconds."""
    for milliseconds in (1, 10_000, 60_000):
        settings = load_settings(environ(SMTP_TIMEOUT_MS=str(milliseconds)))
        assert settings.mail_lease_seconds > 4 * milliseconds / 1000 + 30
