"""A machine under a prefix of its own: its directories, its user, and what starts its units."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from devnet.supervisor.site import CHECKOUT

UNITS = CHECKOUT / "deploy" / "systemd"
# What a developer's checkout has and a release has not.
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "var", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)
CONTROL = """\
#!/bin/sh
exec curl --silent --show-error --fail-with-body --max-time 400 --data "$*" {address}
"""
_NOBODY = "nobody"
_LISTENING = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&'
Unit = dict[str, list[str]]


class Machine:
    """Where everything of one host is; `root` stands for /."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.prefix = root / "opt"
        self.settings_path = root / "etc" / "patchproof.env"
        self.runtime = root / "run"
        self.logs = root / "log"
        self.user, python = _choose_user()
        for directory in (self.prefix, self.settings_path.parent, self.runtime, self.logs):
            directory.mkdir()
        self.environment_path = _make_environment(root / "venv", python)

    def write_settings(self, settings: Mapping[str, str]) -> None:
        """Nobody but whoever deploys can read them."""
        lines = ["# Settings.", "", *(f"{name}={value}" for name, value in settings.items())]
        self.settings_path.write_text("\n".join(lines))
        self.settings_path.chmod(0o600)

    def run(
        self, script: Path, *words: str, user: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs one of the scripts of deploy/ as root does, or as this user."""
        return subprocess.run(
            [str(script), *words],
            env=self.environment() | environment,
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """What the scripts are told, and something of a shell that is not for the service."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "TMPDIR": str(self.runtime),
            "PREFIX": str(self.prefix),
            "ENV_FILE": str(self.settings_path),
            "SERVICE_USER": self.user,
            "PYTHON": sys.executable,
            "PATCHPROOF_VENV": str(self.environment_path),
            "LOG_LEVEL": "a shell's, not the service's",
        }

    @property
    def current(self) -> str:
        """The name of the release that the link names."""
        return (self.prefix / "current").resolve().name

    @property
    def releases(self) -> list[str]:
        return sorted(path.name for path in (self.prefix / "releases").iterdir())


@contextmanager
def made_machine() -> Iterator[Machine]:
    """A machine that its service's user can enter; pytest's own directories are closed to it."""
    root = Path(tempfile.mkdtemp(prefix="patchproof-"))
    try:
        root.chmod(0o755)
        yield Machine(root)
    finally:
        shutil.rmtree(root)


def _choose_user() -> tuple[str, str]:
    """Another user than root, where the tests run as root and it can run a Python like this one."""
    own = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() != 0:
        return own, sys.executable
    packages = sysconfig.get_path("purelib")
    version = sys.version_info[:2]
    test = f"import os, sys; os.listdir({packages!r}); sys.exit(sys.version_info[:2] != {version})"
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info[1]}"):
        # The shell between, since setpriv itself may still open what its user may not.
        words = ["setpriv", f"--reuid={_NOBODY}", "--clear-groups", "sh", "-c", 'exec "$0" -c "$1"']
        if subprocess.run([*words, python, test], capture_output=True, check=False).returncode == 0:
            return _NOBODY, python
    return own, sys.executable


def _make_environment(directory: Path, python: str) -> Path:
    """An environment with the packages of this one, but without what its .pth files add: the
    checkout. So what a release has not, its processes don't find."""
    venv = [python, "-m", "venv", "--without-pip", str(directory)]
    subprocess.run(venv, check=True, capture_output=True, timeout=60)
    [packages] = directory.glob("lib/python3*/site-packages")
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # What the lock has for Python before 3.11.3 alone; Debian's is 3.11.2.
    (packages / "async_timeout.py").write_text("from asyncio import timeout as timeout\n")
    return directory


class Units:
    """Starts and stops the services of deploy/systemd as their units say.

    Hardening is left to systemd; what counts here is who runs what where, with which settings and
    descriptors, and who waits for whom.
    """

    def __init__(self, machine: Machine, listener: socket.socket) -> None:
        self.machine = machine
        self._listener = listener
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._owner = pwd.getpwnam(machine.user)

    def handle(self, words: list[str]) -> None:
        """Does what `systemctl WORDS` does."""
        verb, *units = words
        do = {"restart": self._restart, "stop": self._stop}[verb]
        with ThreadPoolExecutor(len(units)) as pool:
            list(pool.map(do, units))

    def process(self, unit: str) -> subprocess.Popen[bytes]:
        return self._running[unit]

    def is_running(self, unit: str) -> bool:
        return unit in self._running

    def stop_all(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._stop, list(self._running)))

    def _restart(self, unit: str) -> None:
        self._stop(unit)
        self._start(unit)

    def _stop(self, unit: str) -> None:
        process = self._running.pop(unit, None)
        if process is None:
            return
        service = self._read(unit)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(float(service.get("TimeoutStopSec", ["90"])[0]))
        finally:
            _kill_group(process)
            for name in service["RuntimeDirectory"]:
                shutil.rmtree(self.machine.runtime / name)

    def _start(self, unit: str) -> None:
        service = self._read(unit)
        [command] = service["ExecStart"]
        environment = self._environment(service)
        words = [environment.get(word[2:-1], word) for word in shlex.split(command)]
        descriptors = []
        if "patchproof-web.socket" in service["Requires"]:
            descriptor = self._listener.fileno()
            words = ["/bin/bash", "-c", f"{_LISTENING}{descriptor}", "bash", *words]
            descriptors = [descriptor]
        with self._notified(service) as path:
            environment |= path
            self._running[unit] = self._run(unit, words, environment, descriptors)
        for post in service["ExecStartPost"]:
            seconds = float(service["TimeoutStartSec"][0])
            subprocess.run(shlex.split(post), check=True, timeout=seconds)

    def _run(
        self, unit: str, words: list[str], environment: dict[str, str], descriptors: list[int]
    ) -> subprocess.Popen[bytes]:
        [directory] = self._read(unit)["WorkingDirectory"]
        is_other = self._owner.pw_uid != os.geteuid()
        with self._log_path(unit).open("ab") as log:
            return subprocess.Popen(
                words,
                cwd=directory,
                env=environment,
                user=self._owner.pw_uid if is_other else None,
                group=self._owner.pw_gid if is_other else None,
                extra_groups=[] if is_other else None,
                umask=0o077,
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @contextmanager
    def _notified(self, service: Unit) -> Iterator[dict[str, str]]:
        """Waits, where the unit says notify, until the service has said that it has started."""
        if service["Type"] != ["notify"]:
            yield {}
            return
        path = self.machine.runtime / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(str(path))
            path.chmod(0o666)
            receiver.settimeout(float(service["TimeoutStartSec"][0]))
            try:
                yield {"NOTIFY_SOCKET": str(path)}
                assert b"READY=1" in receiver.recv(1000)
            finally:
                path.unlink()

    def _environment(self, service: Unit) -> dict[str, str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/"}
        for line in service["Environment"]:
            environment |= [line.split("=", 1)]
        for name in service["EnvironmentFile"]:
            path = Path(name.lstrip("-"))
            if not name.startswith("-") or path.exists():
                lines = [line for line in path.read_text().splitlines() if "=" in line]
                environment |= dict(line.split("=", 1) for line in lines)
        for name in service["RuntimeDirectory"]:
            directory = self.machine.runtime / name
            directory.mkdir()
            shutil.chown(directory, self._owner.pw_uid, self._owner.pw_gid)
            environment["RUNTIME_DIRECTORY"] = str(directory)
        return environment

    def _read(self, unit: str) -> Unit:
        """The directives of a service; its paths are those of this machine."""
        name, _, instance = unit.removesuffix(".service").partition("@")
        path = UNITS / f"{name}@.service" if instance else UNITS / unit
        text = path.read_text().replace("%%", "\0").replace("%i", instance).replace("\0", "%")
        for theirs, ours in (
            ("/opt/patchproof", self.machine.prefix),
            ("/etc/patchproof", self.machine.settings_path.parent),
            ("/run/", f"{self.machine.runtime}/"),
        ):
            text = text.replace(theirs, str(ours))
        directives: Unit = defaultdict(list)
        for line in text.splitlines():
            key, separator, value = line.partition("=")
            if separator and not line.startswith("#"):
                directives[key].append(value)
        return directives

    def _log_path(self, unit: str) -> Path:
        return self.machine.logs / unit


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


@contextmanager
def controlled(units: Units) -> Iterator[Path]:
    """A program that does with these units what systemctl does; answers its path."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            words = self.rfile.read(int(self.headers["Content-Length"])).decode().split()
            try:
                units.handle(words)
                status, said = 200, ""
            except Exception as error:  # noqa: BLE001  # whatever went wrong, the script hears of it
                status, said = 500, repr(error)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        program = units.machine.root / "control"
        program.write_text(CONTROL.format(address=f"http://127.0.0.1:{server.server_address[1]}"))
        program.chmod(0o755)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield program
        finally:
            server.shutdown()
            thread.join()
            units.stop_all()
