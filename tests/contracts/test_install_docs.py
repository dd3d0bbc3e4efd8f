"""docs/operations: what needs a host of its own can't run here, but all that it names exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from app.config import Settings
from manage import cli
from signer.cli import cli as signer_cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / "operations" / name for name in ("install.md", "upgrade.md")]
COMMANDS = [
    (page.name, line.strip()[2:])
    for page in PAGES
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    for line in block.splitlines()
    if line.strip().startswith("# ")
]
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


def find_uses(pattern: str) -> list[str]:
    return [match for _, line in COMMANDS for match in re.findall(pattern, line)]


def check_command(words: list[str], group: click.Command) -> None:
    """Fails unless click knows these words and options."""
    context = click.Context(group)
    command, known = group, set[str]()
    for word in words:
        if word.startswith("--"):
            known = {option for each in command.params for option in each.opts}
            assert word in known, (words, word)
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            assert found is not None, words
            command = found


def test_every_command_of_manage_exists() -> None:
    uses = find_uses(r"(?:manage\.sh|--rm manage) ((?!--signer)[^|)<>]+)")
    assert len(uses) > 5
    for use in uses:
        check_command(use.split(), cli)


def test_every_command_of_the_signer_exists() -> None:
    uses = find_uses(r"(?:manage\.sh --signer|--rm signer) ([^|)<>]+)")
    assert len(uses) > 5
    for use in uses:
        check_command(use.split(), signer_cli)


def test_every_option_of_the_scripts_is_one_that_they_explain() -> None:
    for script, options in find_uses(r"deploy/(deploy|rollback)\.sh((?: --[a-z]+)*)"):
        said = subprocess.run(
            [str(ROOT / "deploy" / f"{script}.sh"), "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
        assert all(f"  {option} " in said for option in options.split()), options


def test_every_file_and_every_setting_is_there() -> None:
    files = find_uses(r"(?<![\w/.])((?:deploy|nginx)/[\w./*-]+)")
    assert len(files) > 10
    for name in files:
        assert list(ROOT.glob(name)), name
    example = (ROOT / "deploy" / "env.example").read_text()
    for name in find_uses(r"^put ([A-Z_]+)"):
        assert name.lower() in Settings.model_fields
        assert re.search(rf"(?m)^#?{name}=", example)


def test_what_has_no_default_is_put_in() -> None:
    needed = {name.upper() for name, field in Settings.model_fields.items() if field.is_required()}
    put = set(find_uses(r"^put ([A-Z_]+)"))
    example = (ROOT / "deploy" / "env.example").read_text()
    filled = set(re.findall(r"(?m)^([A-Z_]+)=\S", example))
    assert needed <= put | filled


@pytest.mark.parametrize("kind", ["service", "socket", "target"])
def test_every_unit_is_one_of_ours_or_of_the_system(kind: str) -> None:
    for name in find_uses(rf"patchproof[a-z-]*(?:@[a-z]+)?\.{kind}"):
        template = re.sub("@[a-z]+", "@", name)
        assert (ROOT / "deploy" / "systemd" / template).exists(), name


def test_every_container_is_one_of_the_compose_file() -> None:
    run = find_uses(r"docker compose run --rm ([a-z-]+)")
    many = find_uses(r"docker compose (?:build|up --detach) ([a-z][a-z -]+)")
    assert len(run) > 3
    assert {*run, *" ".join(many).split()} <= SERVICES.keys()
