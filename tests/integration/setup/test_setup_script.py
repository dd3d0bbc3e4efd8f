"""scripts/setup.sh on machines that lack something."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "setup.sh"
# Says that it is Python 3.12 with everything but the headers, and can't do more.
PYTHON_312 = """#!/bin/sh
case "$2" in
    *version_info*) case "$2" in *print*) echo 3.12 ;; esac ;;
    *Python.h*) exit 1 ;;
    venv) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
esac
"""


class Machine:
    """A path with nothing on it but what a test puts there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "bin"
        self.path.mkdir()
        for name in ("bash", "cat", "cksum", "cp", "dirname", "mkdir", "rm", "sh", "tail", "uname"):
            program = shutil.which(name)
            assert program is not None
            (self.path / name).symlink_to(program)

    def add(self, name: str, script: str) -> None:
        program = self.path / name
        program.write_text(script)
        program.chmod(0o755)

    def set_up(self, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.path), "HOME": str(self.directory)}
        environment |= {"VENV": str(self.directory / "venv"), **settings}
        return subprocess.run(
            [str(self.path / "bash"), str(SCRIPT)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_no_python_is_said(machine: Machine) -> None:
    done = machine.set_up()
    assert done.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13 with venv was found" in done.stderr


def test_a_shim_without_an_interpreter_is_passed_over(machine: Machine) -> None:
    machine.add("python3.11", "#!/bin/sh\necho 'python3.11: command not found' >&2; exit 127\n")
    machine.add("python3.12", PYTHON_312)
    machine.add("id", "#!/bin/sh\necho 1000\n")
    machine.add("apt-get", "#!/bin/sh\nexit 1\n")
    assert "with Python 3.12" in machine.set_up().stderr


def test_a_chosen_python_that_can_not_serve_is_refused(machine: Machine) -> None:
    machine.add("python2", "#!/bin/sh\nexit 1\n")
    done = machine.set_up(PYTHON="python2")
    assert done.returncode == 1
    assert done.stderr == "Error: python2 is no Python 3.11, 3.12 or 3.13 that runs.\n"


APT_GET = (
    "apt-get update && apt-get install -y autoconf automake libtool pkg-config build-essential "
    "python3.12-dev"
)
DNF = "dnf install -y autoconf automake libtool pkgconf-pkg-config gcc make python3.12-devel"


@pytest.mark.parametrize(("manager", "command"), [("apt-get", APT_GET), ("dnf", DNF)])
def test_without_rights_it_stops_with_the_one_command(
    machine: Machine, manager: str, command: str
) -> None:
    machine.add("python3.12", PYTHON_312)
    machine.add("id", "#!/bin/sh\necho 1000\n")
    machine.add("sudo", "#!/bin/sh\necho 'a password is required' >&2; exit 1\n")
    machine.add(manager, "#!/bin/sh\nexit 0\n")
    done = machine.set_up()
    assert done.returncode == 1
    assert f"  sudo sh -c '{command}'\n" in done.stderr
    assert not (machine.directory / "venv" / ".patchproof-ready").exists()


def test_with_rights_it_installs_the_build_tools(machine: Machine) -> None:
    machine.add("python3.12", PYTHON_312)
    machine.add("id", "#!/bin/sh\necho 0\n")
    calls = machine.directory / "calls"
    machine.add("apt-get", f'#!/bin/sh\necho "$@" >>{calls}\n')
    done = machine.set_up()
    assert done.returncode == 1
    assert "the build tools are still missing after: apt-get update" in done.stderr
    assert calls.read_text().splitlines() == [
        "update",
        "install -y autoconf automake libtool pkg-config build-essential python3.12-dev",
    ]


def test_with_a_passwordless_sudo_it_installs_them_too(machine: Machine) -> None:
    machine.add("python3.12", PYTHON_312)
    machine.add("id", "#!/bin/sh\necho 1000\n")
    calls = machine.directory / "calls"
    machine.add("sudo", '#!/bin/sh\nshift; exec "$@"\n')
    machine.add("true", f"#!{os.path.realpath('/bin/sh')}\nexit 0\n")
    machine.add("apt-get", f'#!/bin/sh\necho "$@" >>{calls}\n')
    machine.set_up()
    assert calls.read_text().splitlines()[0] == "update"
