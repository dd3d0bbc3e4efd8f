"""The commands: what they print, what they refuse, and with which exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from signer.cli import cli

SECRET = "11" * 32
PASSPHRASE = "correct horse battery"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "SIGNER_KEYSTORE": str(tmp_path / "keystore.json"),
        "SIGNER_PASSPHRASE": PASSPHRASE,
        "SIGNER_NETWORK": "test",
    }


def run(environment: dict[str, str], *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner(env=environment).invoke(cli, arguments, input=stdin)


def test_keystore_is_made_filled_and_listed(environment: dict[str, str]) -> None:
    assert run(environment, "init").exit_code == 0
    added = run(environment, "add-key", "issuer-1", "--purpose", "issuer", "--import", stdin=SECRET)
    assert added.exit_code == 0
    assert run(environment, "add-key", "pool-1", "--purpose", "funding").exit_code == 0
    listed = run(environment, "list", "--json")
    first, second = json.loads(listed.output)
    assert first == {
        "keyIdentifier": "issuer-1",
        "purposes": ["issuer"],
        "publicKeyHex": PrivateKey.from_hex(SECRET).public_key.to_hex(),
        "address": PrivateKey.from_hex(SECRET).public_key.address(Network.TEST),
    }
    assert (second["keyIdentifier"], second["purposes"]) == ("pool-1", ["funding"])
    table = run(environment, "list").output
    assert "issuer-1" in table
    assert "pool-1" in table
    for output in (added.output, listed.output, table):
        assert SECRET not in output


def test_json_of_an_added_key_matches_the_list(environment: dict[str, str]) -> None:
    run(environment, "init")
    added = run(
        environment, "add-key", "a", "--purpose", "funding", "--purpose", "issuer", "--json"
    )
    assert json.loads(added.output)["purposes"] == ["funding", "issuer"]
    assert [json.loads(added.output)] == json.loads(run(environment, "list", "--json").output)


def test_wif_is_imported_from_stdin(environment: dict[str, str]) -> None:
    run(environment, "init")
    key = PrivateKey.generate()
    stdin = key.to_wif(Network.TEST) + "\n"
    added = run(environment, "add-key", "a", "--purpose", "svd", "--import", "--json", stdin=stdin)
    assert json.loads(added.output)["publicKeyHex"] == key.public_key.to_hex()


def test_each_failure_has_its_exit_code_and_one_sentence(environment: dict[str, str]) -> None:
    run(environment, "init")
    issuer = ["add-key", "a", "--purpose", "issuer"]
    run(environment, *issuer)
    without_passphrase = environment | {"SIGNER_PASSPHRASE": "", "SIGNER_PASSPHRASE_FILE": "/none"}
    wrong = environment | {"SIGNER_PASSPHRASE": "wrong"}
    missing = environment | {"SIGNER_KEYSTORE": environment["SIGNER_KEYSTORE"] + ".none"}
    failures = [
        (run(environment, "add-key", "a"), 2),
        (run(environment, "add-key", "b", "--purpose", "all"), 2),
        (run(without_passphrase, "list"), 3),
        (run(environment, "serve"), 3),
        (run(environment, "init"), 4),
        (run(missing, "list"), 4),
        (run(wrong, "list"), 5),
        (run(wrong, *issuer), 5),
        (run(environment, *issuer), 6),
        (run(environment, "add-key", "b c", "--purpose", "issuer"), 6),
        (run(environment, "add-key", "b", "--purpose", "issuer", "--import", stdin="x"), 6),
    ]
    for result, code in failures:
        assert result.exit_code == code, result.output
        assert result.stderr.count("Error: ") == 1
        assert result.stdout == ""
        assert "Traceback" not in result.output


def test_the_passphrase_is_changed_without_the_keys(
    environment: dict[str, str], tmp_path: Path
) -> None:
    run(environment, "init")
    run(environment, "add-key", "pool-1", "--purpose", "funding")
    before = run(environment, "list", "--json").output
    file = tmp_path / "next"
    file.write_text("battery staple\n")

    short = run({**environment, "SIGNER_NEW_PASSPHRASE": "1234567"}, "change-passphrase")
    assert (short.exit_code, run(environment, "list", "--json").output) == (3, before)
    done = run({**environment, "SIGNER_NEW_PASSPHRASE_FILE": str(file)}, "change-passphrase")

    assert done.exit_code == 0, done.output
    assert "battery" not in done.output
    assert run(environment, "list", "--json").exit_code == 5
    environment["SIGNER_PASSPHRASE"] = "battery staple"
    assert run(environment, "list", "--json").output == before


def test_empty_keystore_is_not_served(environment: dict[str, str]) -> None:
    run(environment, "init")
    program = [sys.executable, "-m", "signer", "serve"]
    result = subprocess.run(
        program, env=environment | {"KMS_API_KEY": "k"}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 6
    assert result.stderr == "Error: The keystore has no key to serve: add one with add-key.\n"


def test_without_terminal_the_imported_key_is_not_taken_for_the_passphrase(
    environment: dict[str, str],
) -> None:
    run(environment, "init")
    del environment["SIGNER_PASSPHRASE"]
    result = subprocess.run(
        [sys.executable, "-m", "signer", "add-key", "a", "--purpose", "issuer", "--import"],
        env=environment,
        input=SECRET + "\n",
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert result.returncode == 3
    assert "there is no terminal to ask at" in result.stderr
    assert SECRET not in result.stderr + result.stdout


@pytest.mark.parametrize("command", ["init", "add-key", "list", "change-passphrase", "serve"])
def test_help_teaches(command: str) -> None:
    main = CliRunner().invoke(cli, ["--help"])
    assert "Examples:" in main.output
    assert "Exit codes:" in main.output
    assert f"python -m signer {command}" in main.output
    assert "..." not in main.output.split("Commands:")[1]
    assert CliRunner().invoke(cli, [command, "--help"]).exit_code == 0


def test_nothing_of_the_application_but_formats_and_rules_is_loaded() -> None:
    """What is not loaded cannot leak a key; it would also make every start slower."""
    program = "import signer.cli, sys; print(*sys.modules, sep='\\n')"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = result.stdout.split()
    ours = [name for name in modules if name.startswith("app.")]
    assert [name for name in ours if not name.startswith(("app.bitcoin", "app.domain"))] == []
    assert not {"celery", "mongoengine", "pymongo", "redis", "requests"} & set(modules)
    assert result.stderr == ""
