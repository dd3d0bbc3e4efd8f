"""The devnet under the demo: started where none runs, and stopped again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.report import Row
from demo.stage import Stage
from devnet.supervisor import Devnet
from devnet.supervisor.files import write_private

REPORT_NAME = "demo.json"


class Host:
    """Leaves the devnet as it was found, unless it shall be kept."""

    def __init__(self, directory: Path) -> None:
        self._net = Devnet(directory)
        self._is_found = False
        self._is_kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_found and not (self._is_kept and error is None):
            self._net.down()

    @property
    def exports(self) -> dict[str, str]:
        """The settings of the running devnet."""
        return self._net.env

    def log_path(self, part: str) -> Path:
        return self._net.log_path(part)

    def start(self, stage: Stage) -> None:
        """Uses a devnet that answers, else starts one."""
        with stage.step("Start the devnet", "web") as step:
            if self._net.is_running() and all(row.is_ready for row in self._net.status()):
                self._is_found = True
                step.note = "it is running already and will be left so"
                return
            self._net.up(
                on_ready=lambda part, seconds: step.show(f"{part} answers after {seconds:.1f} s")
            )

    def write_report(self, text: str) -> Path:
        """Keeps the report beside the devnet's data."""
        path = self._net.directory / REPORT_NAME
        write_private(path, text + "\n")
        return path

    def finish(self, stage: Stage, rows: Sequence[Row], *, keep: bool) -> None:
        """Says where to look next; what was started is stopped on leaving unless `keep`."""
        self._is_kept = keep
        is_running = keep or self._is_found
        title = "Where to look next:" if is_running else "Run it with --keep, then look around:"
        stage.console.print(f"\n[bold]{title}[/]")
        for line in self._next_commands(rows[0], is_running=is_running):
            stage.console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)

    def _next_commands(self, row: Row, *, is_running: bool) -> list[str]:
        exports = self.exports
        base, woc = exports["BASE_URL"], exports["WOC_BASE_URL"]
        lines = [
            f"curl {base}/v1/patches/verify/{row.uid_tag_id}",
            f"curl {base}/v1/patches/{row.uid_tag_id}/history",
            f"curl {woc}/tx/{row.txid}",
            f"source {self._net.directory / 'env'}     the settings, for a shell or a script",
            "python manage.py devnet logs worker -f",
        ]
        return [*lines, "python manage.py devnet down"] if is_running else lines
