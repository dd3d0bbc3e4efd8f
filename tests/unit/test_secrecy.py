"""The search of a run's logs finds what it is for, and nothing else fails a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.secrecy import find_leaks, read_logs, read_secrets

ROOT = Path(__file__).resolve().parents[2]
KEY = "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa"
PLANTED = {
    "a login challenge": "begin for 000000006500000000112233445566778899aabbccddeeff",
    "a public key": f'{{"message": "PMC {KEY}"}}',
    "an email address": "sent to anna.b+shop@mail.example.com",
    "a code of six digits": 'the code: "482915" was sent',
    "a token": "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzaG9wIn0.c2lnbmF0dXJlc2ln",
    "an API key": "pp_4f9ac1d2_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
}
HARMLESS = (
    f"txid {'ab' * 32} spends {'00' * 32}:1, 482915 satoshis",
    "redis://[redacted]@127.0.0.1:6379/0",
    '{"code": "pool_empty", "milliseconds": 123456.5}',
    f"digest 02{'ab' * 31}",
)


@pytest.mark.parametrize("what", PLANTED)
def test_a_secret_is_found_by_its_shape(what: str) -> None:
    assert {leak.what for leak in find_leaks([("api.log", PLANTED[what])], {})} == {what}


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_no_secret_is_none(line: str) -> None:
    assert not list(find_leaks([("api.log", line)], {}))


def test_a_secret_of_a_devnet_is_found_by_its_value() -> None:
    # Not where this run's own search looks.
    with TemporaryDirectory() as name:
        net = Path(name, "net")
        (net / "secrets").mkdir(parents=True)
        (net / "secrets" / "jwt_secret").write_text("f" * 40 + "\n")
        (net / "logs").mkdir()
        (net / "logs" / "api.log").write_text(f"signed with {'f' * 40}\nfine\n")

        [leak] = find_leaks(read_logs(Path(name)), read_secrets(Path(name)))

    assert (leak.what, leak.source) == ("the secret jwt_secret", "net/logs/api.log")


@pytest.mark.parametrize(("line", "code"), [('{"to": "a@b.example.com"}', 1), ('{"a": 1}', 0)])
def test_a_leak_fails_a_run_that_passed(tmp_path: Path, line: str, code: int) -> None:
    source = f"import sys\n\ndef test_writes():\n    sys.stderr.write({line!r} + '\\n')\n"
    (tmp_path / "test_leaking.py").write_text(source)
    (tmp_path / "conftest.py").write_text(
        "from tests.secrecy import LogSearch\n\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(LogSearch())\n"
    )

    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--basetemp", str(tmp_path / "base"), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == code, done.stdout + done.stderr
    assert ("secrets in logs" in done.stdout) is bool(code)
