"""What ends a demo early."""

from __future__ import annotations

from pathlib import Path


class DemoError(Exception):
    """Something did not go as it must; the text is a sentence for whoever watches."""


class StepFailedError(Exception):
    """One step failed: which, why, and where the log of the part that did it is."""

    def __init__(self, step: str, reason: str, log_path: Path) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.reason = reason
        self.log_path = log_path
