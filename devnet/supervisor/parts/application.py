"""The application's own processes, started as in production: gunicorn, a worker, beat."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from devnet.supervisor import probes
from devnet.supervisor.files import make_private_directory
from devnet.supervisor.oneshot import run_python
from devnet.supervisor.parts.base import Part
from devnet.supervisor.site import CHECKOUT, Site

WORKER_NODE = "worker@devnet"
QUEUES = ("anchoring", "maintenance", "mail")


class ApplicationPart(Part):
    """A process that sees the devnet's exports and keeps its counters in a directory."""

    wave = 2

    def prepare(self, site: Site) -> None:
        super().prepare(site)
        # Counters of an earlier start would be counted again.
        metrics = self._metrics_directory(site)
        shutil.rmtree(metrics, ignore_errors=True)
        make_private_directory(metrics)

    def environment(self, site: Site) -> dict[str, str]:
        metrics = str(self._metrics_directory(site))
        return site.exports() | {"PROMETHEUS_MULTIPROC_DIR": metrics}

    def _metrics_directory(self, site: Site) -> Path:
        return site.data_directory(self.name) / "metrics"


class WebPart(ApplicationPart):
    """gunicorn, configured as in production."""

    name = "web"

    def prepare(self, site: Site) -> None:
        super().prepare(site)
        run_python(site, "manage.py", "db", "migrate", environment=self.environment(site))

    def command(self, site: Site) -> list[str]:
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{site.port(self.name)}"]
        return [*command, "--config", str(CHECKOUT / "deploy" / "gunicorn.conf.py"), "wsgi:app"]

    def find_problem(self, site: Site) -> str | None:
        return probes.find_http_problem(site.port(self.name), "/ready")


class WorkerPart(ApplicationPart):
    """A Celery worker with one child."""

    name = "worker"
    has_port = False

    def command(self, site: Site) -> list[str]:
        command = [sys.executable, "-m", "celery", "-A", "tasks.worker", "--quiet", "worker"]
        command += ["--concurrency", "1", "--hostname", WORKER_NODE, "--loglevel", "INFO"]
        command += ["--queues", ",".join(QUEUES)]
        return [*command, "--without-gossip", "--without-mingle"]

    def find_problem(self, site: Site) -> str | None:
        return probes.find_worker_problem(site.redis_url, WORKER_NODE)


class BeatPart(ApplicationPart):
    """Celery's clock. Its schedule is made anew at each start: every job is periodic."""

    name = "beat"
    has_port = False

    def prepare(self, site: Site) -> None:
        super().prepare(site)
        for path in site.data_directory(self.name).glob("schedule*"):
            path.unlink()

    def command(self, site: Site) -> list[str]:
        command = [sys.executable, "-m", "celery", "-A", "tasks.worker", "--quiet", "beat"]
        command += ["--schedule", str(self._schedule(site)), "--pidfile="]
        return [*command, "--loglevel", "INFO"]

    def find_problem(self, site: Site) -> str | None:
        return probes.find_beat_problem(self._schedule(site))

    def _schedule(self, site: Site) -> Path:
        return site.data_directory(self.name) / "schedule"
