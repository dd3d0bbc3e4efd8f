"""deploy/: what the scripts do with releases that are small enough to be deployed in a second.

Each is served by a real gunicorn, started as its unit says, and fails in a way of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from devnet.supervisor.site import CHECKOUT
from tests.integration.deployment.conftest import wait_for
from tests.integration.deployment.machine import Machine, Units, controlled, made_machine

DEPLOY = CHECKOUT / "deploy" / "deploy.sh"
ROLLBACK = CHECKOUT / "deploy" / "rollback.sh"
MANAGE = CHECKOUT / "deploy" / "manage.sh"
WEB, NEXT = "patchproof-web.service", "patchproof-web-next.service"
SETTINGS = {
    "WEB_WORKERS": "1",
    "PROMETHEUS_MULTIPROC_DIR": "/nowhere/the/serving/one's",
    "WORD": 'as $it `stands` # "here"',
}
WSGI = """\
import os

AT_GATE = "gate"

def app(environ, start_response):
    where = "door" if environ.get("REMOTE_ADDR") else AT_GATE
    status = "200 OK" if where in {places!r} else "503 Service Unavailable"
    start_response(status, [("Content-Type", "text/plain")])
    return [os.environ["DEPLOY_SHA"].encode()]
"""
GUNICORN = """\
import os, pathlib

worker_class = "gthread"

def post_worker_init(worker):
    if "RUNTIME_DIRECTORY" in os.environ:
        pathlib.Path(os.environ["RUNTIME_DIRECTORY"], "answering").touch()
"""
MANAGE_PY = """\
import json, os, sys

print(json.dumps([sys.argv[1:], os.getuid(), dict(os.environ)]))
sys.exit({code})
"""
EVERYWHERE = ("gate", "door")


@dataclass(frozen=True)
class Host:
    """A machine with one API, and how to see it from outside."""

    machine: Machine
    units: Units
    environment: dict[str, str]
    port: int

    def deploy(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run(DEPLOY, *words, **(self.environment | environment))

    def roll_back(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run(ROLLBACK, *words, **self.environment)

    def serving(self) -> str:
        """What the release that answers is called."""
        return requests.get(f"http://127.0.0.1:{self.port}/ready", timeout=60).text

    def make(self, name: str, parts: Mapping[str, str] | None = None) -> Path:
        return make_release(self.machine, name, parts)

    def serve(self, name: str, **environment: str) -> str:
        """Deploys a good release; answers its name."""
        done = self.deploy("--directory", str(self.make(name)), **environment)
        assert done.returncode == 0, done.stderr
        return self.machine.current


def make_release(machine: Machine, name: str, parts: Mapping[str, str] | None = None) -> Path:
    """Writes the smallest release; `parts` replace its files."""
    directory = machine.root / "sources" / name
    files = {
        "wsgi.py": WSGI.format(places=EVERYWHERE),
        "manage.py": MANAGE_PY.format(code=0),
        "tasks/worker.py": "",
        "requirements/production.txt": "",
        "NAME": name,
        "deploy/gunicorn.conf.py": GUNICORN,
    }
    for path, text in (files | dict(parts or {})).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    return directory


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with (
        made_machine() as machine,
        socket.create_server(("127.0.0.1", 0), backlog=100) as listener,
    ):
        machine.write_settings(SETTINGS)
        units = Units(machine, listener)
        with controlled(units) as control:
            port = listener.getsockname()[1]
            environment = {
                "SERVICE_CONTROL": str(control),
                "PUBLIC_URL": f"http://127.0.0.1:{port}",
                "WORKERS": "",
                "BEAT_UNIT": "",
                "NEXT_UNIT": "",
            }
            yield Host(machine, units, environment, port)


def read_calls(text: str) -> list[tuple[list[str], int, dict[str, str]]]:
    """What the releases' manage.py was called with: words, user, environment."""
    return [tuple(json.loads(line)) for line in text.splitlines() if line.startswith("[")]


def test_a_release_serves_once_and_the_one_before_comes_back(host: Host) -> None:
    first = host.serve("first")
    process = host.units.process(WEB)

    again = host.deploy("--directory", str(host.make("first")))
    assert (again.returncode, host.units.process(WEB)) == (0, process)
    assert "serves already" in again.stderr

    second = host.serve("second", NEXT_UNIT=NEXT)
    assert second != first
    assert not host.units.is_running(NEXT)
    assert second.endswith(host.serving())

    back = host.roll_back()
    assert (back.returncode, host.machine.current) == (0, first), back.stderr
    assert first.endswith(host.serving())
    listed = host.roll_back("--list").stdout.splitlines()
    assert f"* {first}" in listed
    assert f"- {second}" in listed

    named = host.roll_back(second)
    assert (named.returncode, host.machine.current) == (0, second), named.stderr
    assert "serves already" in host.roll_back(second).stderr


BROKEN = {
    "settings": (3, {"tasks/worker.py": "import sys\nsys.exit('JWT_SECRET is missing')"}),
    "code": (4, {"manage.py": "def broken("}),
    "migration": (5, {"manage.py": MANAGE_PY.format(code=1)}),
    "start": (6, {"wsgi.py": "raise RuntimeError('it does not start')"}),
    "gate": (6, {"wsgi.py": WSGI.format(places=("door",))}),
    "door": (7, {"wsgi.py": WSGI.format(places=("gate",))}),
}
# Only what fails by waiting is waited for so short.
IMPATIENT = {"gate": {"GATE_SECONDS": "2"}, "door": {"CHECK_SECONDS": "2", "NEXT_UNIT": NEXT}}
SAID = {
    "settings": "JWT_SECRET is missing",
    "code": "can't be compiled",
    "migration": "the migration failed",
    "start": "it does not start",
    "gate": "Not ready after 2 seconds",
    "door": "serves again",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_release_leaves_the_old_one_serving(host: Host, kind: str) -> None:
    code, parts = BROKEN[kind]
    old = host.serve("good")
    process = host.units.process(WEB)
    source = host.make(f"broken-{kind}", parts)

    done = host.deploy("--directory", str(source), **IMPATIENT.get(kind, {}))

    assert done.returncode == code, done.stderr
    assert SAID[kind] in done.stderr
    assert host.machine.current == old
    assert old.endswith(host.serving())
    assert (host.units.process(WEB) is process) == (code != 7)
    assert not host.units.is_running(NEXT)
    assert not list(host.machine.runtime.glob("patchproof-gate*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name what to deploy"),
        (["--speed"], "there is no option --speed"),
        (["--directory"], "--directory needs a path"),
        (["v1", "v2"], "one release at a time"),
        ([""], "an empty name"),
    ],
)
def test_words_that_it_does_not_know_are_said(host: Host, words: list[str], said: str) -> None:
    done = host.deploy(*words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    "words", [["--archive", "/nowhere"], ["--directory", "/"], ["no-such-ref"]]
)
def test_what_is_no_release_is_said(host: Host, words: list[str]) -> None:
    before = host.machine.releases if (host.machine.prefix / "releases").exists() else []
    done = host.deploy(*words)
    assert done.returncode == 4, done.stderr
    assert host.machine.releases == before


@pytest.mark.parametrize("name", ["../../etc", ".unpacked", "19990101T000000Z-abc"])
def test_a_rollback_to_what_is_no_release_is_refused(host: Host, name: str) -> None:
    serving = host.serve("good")
    done = host.roll_back(name)
    assert done.returncode == 2, done.stderr
    assert "--list" in done.stderr
    assert host.machine.current == serving


def test_a_second_one_at_once_is_refused(host: Host) -> None:
    host.serve("good")
    with (host.machine.prefix / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for done in (host.deploy("--directory", str(host.make("other"))), host.roll_back()):
            assert done.returncode == 75
            assert "another deploy or rollback is under way" in done.stderr


def test_five_are_kept_with_the_one_that_serves_and_the_one_before(host: Host) -> None:
    before = host.serve("kept")
    releases = host.machine.prefix / "releases"
    for name in releases.iterdir():
        if name.name != before:
            shutil.rmtree(name)
    # Older ones by their stamps: the one before is the oldest of all.
    oldest = releases / before.replace(before[:4], "1999", 1)
    (releases / before).rename(oldest)
    host.machine.prefix.joinpath(".serving").write_text(oldest.name)
    for index in range(7):
        (releases / f"2000010{index + 1}T000000Z-old").mkdir()
        (releases / f"2000010{index + 1}T000000Z-old" / ".complete").touch()
    (releases / "20990101T000000Z-torn").mkdir()

    newest = host.serve("newest")

    assert host.machine.releases == [
        oldest.name,
        *(f"2000010{day}T000000Z-old" for day in (4, 5, 6, 7)),
        newest,
    ]


def make_interrupting(host: Host) -> Path:
    """A service control that is interrupted at its first call, as by a lost connection."""
    program = host.machine.root / "interrupting"
    program.with_suffix(".done").unlink(missing_ok=True)
    program.write_text(
        "#!/bin/sh\n"
        '[ -e "$0.done" ] || { touch "$0.done"; kill -HUP $PPID; }\n'
        f'exec {host.environment["SERVICE_CONTROL"]} "$@"\n'
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("is_heard", [True, False])
def test_who_interrupts_it_after_the_switch_gets_the_old_one_back(
    host: Host, is_heard: bool
) -> None:
    old = host.serve("good")
    program = make_interrupting(host)
    source = host.make(f"interrupted-{is_heard}")
    environment = host.machine.environment() | host.environment
    with subprocess.Popen(
        [str(DEPLOY), "--directory", str(source)],
        env=environment | {"SERVICE_CONTROL": str(program)},
        stderr=subprocess.PIPE,
        text=True,
    ) as deploying:
        assert deploying.stderr is not None
        wait_for(program.with_suffix(".done").exists)
        if is_heard:
            said = deploying.stderr.read()
            assert "Interrupted after the switch" in said
            assert "serves again" in said
        else:
            deploying.stderr.close()
        assert deploying.wait(120) == 7

    assert host.machine.current == old
    assert old.endswith(host.serving())


def test_it_takes_a_commit_and_an_archive(host: Host, tmp_path: Path) -> None:
    source = host.make("committed")
    for script in (CHECKOUT / "deploy").glob("*.sh"):
        shutil.copy(script, source / "deploy")
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True, timeout=30, capture_output=True)
    (source / "NAME").write_text("not committed")

    done = host.machine.run(source / "deploy" / "deploy.sh", "v1", **host.environment)
    assert done.returncode == 0, done.stderr
    assert (host.machine.prefix / "current" / "NAME").read_text() == "committed"

    archive = tmp_path / "patchproof.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(host.make("archived"), "patchproof-1.2.3")
    done = host.deploy("--archive", str(archive))
    assert done.returncode == 0, done.stderr
    assert (host.machine.prefix / "current" / "NAME").read_text() == "archived"
    assert host.serving() == hashlib.sha256(archive.read_bytes()).hexdigest()[:12]


def test_o8_the_settings_reach_every_step_as_they_stand_and_stay_as_they_are(host: Host) -> None:
    before = host.machine.settings_path.stat()
    host.deploy("--directory", str(host.make("settings-read")), "--prepare")
    done = host.deploy("--directory", str(host.make("settings-read")), "--prepare")

    assert done.returncode == 0, done.stderr
    assert "nothing was switched" in done.stderr
    [(words, user, environment)] = read_calls(done.stderr)
    assert words == ["db", "migrate"]
    assert user == pwd.getpwnam(host.machine.user).pw_uid
    assert environment["WORD"] == SETTINGS["WORD"]
    # A shell's variables don't get in, and nothing touches the counters of the serving one.
    assert not {"LOG_LEVEL", "PREFIX", "PROMETHEUS_MULTIPROC_DIR"} & environment.keys()
    after = host.machine.settings_path.stat()
    assert (after.st_uid, after.st_mode, after.st_mtime) == (
        before.st_uid,
        before.st_mode,
        before.st_mtime,
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('MASTER_SECRET="quoted"', "MASTER_SECRET must stand as it is"),
        ("export A=b", "line 1: NAME=value was expected"),
        ("PASSWORD=x\\", "PASSWORD must stand as it is"),
    ],
)
def test_o8_what_systemd_would_read_otherwise_is_refused(
    host: Host, tmp_path: Path, line: str, said: str
) -> None:
    settings = tmp_path / "env"
    settings.write_text(f"{line}\n")
    done = host.deploy("--directory", str(host.make("unread")), ENV_FILE=str(settings))
    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert "quoted" not in done.stderr


def test_o8_it_needs_no_root() -> None:
    with made_machine() as machine:
        owner = pwd.getpwnam(machine.user)
        machine.write_settings(SETTINGS)
        for path in (machine.root, *machine.root.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        source = make_release(machine, "plain")

        done = machine.run(
            DEPLOY, "--directory", str(source), "--prepare", user=_other(machine), SERVICE_USER="?"
        )
        assert done.returncode == 0, done.stderr
        assert read_calls(done.stderr)[0][1] == owner.pw_uid

        run = machine.run(MANAGE, "doctor", "--json", user=_other(machine), SERVICE_USER="?")
        assert (run.returncode, read_calls(run.stdout)[0][0]) == (0, ["doctor", "--json"])


def _other(machine: Machine) -> str | None:
    """The user of the service, where the tests may become it."""
    return machine.user if os.geteuid() == 0 else None


def test_a_place_that_can_not_be_written_is_said(host: Host) -> None:
    done = host.deploy("--directory", str(host.make("first")), PREFIX="/proc/patchproof")
    assert done.returncode == 3
    assert "can't be written" in done.stderr


def test_packages_are_installed_by_hash_and_shared_by_releases_with_the_same_lock(
    host: Host, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path / "tiny-1.0-py3-none-any.whl")
    locked = f"tiny==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    lock = "requirements/production.txt"
    sources = [host.make(name, {lock: locked}) for name in ("one", "two")]
    forged = host.make("forged", {lock: locked.replace(locked[-9:-1], "0" * 8)})

    options = {"PATCHPROOF_VENV": "", "WHEELS": str(tmp_path)}
    for source in sources:
        done = host.deploy("--prepare", "--directory", str(source), **options)
        assert done.returncode == 0, done.stderr
    before = host.machine.releases
    refused = host.deploy("--prepare", "--directory", str(forged), **options)
    assert refused.returncode == 4
    assert "DO NOT MATCH" in refused.stderr
    assert host.machine.releases == before
    [environment] = (host.machine.prefix / "venvs").iterdir()

    # A link that moves on takes nothing away from who was started through it.
    link = tmp_path / "current"
    link.symlink_to(environment)
    program = str(link / "bin" / "python")
    asked = subprocess.run(
        [program, "-c", "import tiny; print(tiny.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert asked.stdout.startswith(str(environment))


def write_wheel(path: Path) -> Path:
    """A package of one empty module."""
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        wheel.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: a\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(
            "tiny-1.0.dist-info/RECORD",
            "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\n"
            "tiny-1.0.dist-info/RECORD,,\n",
        )
    return path
