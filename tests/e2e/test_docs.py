"""Every command of the README and of docs does what its page says, on a devnet of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devnet.supervisor.site import DIRECTORY_VARIABLE, read_exports
from tests.conftest import outside_settings
from tests.docs.pages import list_documents
from tests.docs.running import make_checkout, run_page


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A checkout as a reader has it, without a devnet; one that was started is down at the end."""
    directory = make_checkout(tmp_path / "checkout")
    yield directory
    subprocess.run(
        [sys.executable, "manage.py", "devnet", "down", "--dir", str(directory / "var/devnet")],
        cwd=directory,
        env=outside_settings(),
        capture_output=True,
        timeout=100,
        check=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_the_documents_runs(checkout: Path) -> None:
    # The README starts the devnet, as its reader does; the other pages find it up.
    readme, *others = list_documents()
    devnet = checkout / "var" / "devnet"
    environment = outside_settings() | {DIRECTORY_VARIABLE: str(devnet)}
    assert run_page(readme, checkout, environment) == []

    environment |= read_exports(devnet / "env")
    problems = [problem for page in others for problem in run_page(page, checkout, environment)]

    assert not problems, "\n\n".join(problems)
