"""What can go wrong while a devnet starts."""

from __future__ import annotations

from pathlib import Path


class DevnetError(Exception):
    """The devnet can't do what was asked; the text is a sentence for the person who asked."""


class ProductionRefusedError(DevnetError):
    """A devnet was asked for where `APP_ENV` says production."""

    def __init__(self) -> None:
        super().__init__(
            "The devnet is for development: it is refused while APP_ENV is production."
        )


class PartFailedError(DevnetError):
    """One part did not start; everything was stopped."""

    def __init__(self, part: str, reason: str, log_path: Path) -> None:
        super().__init__(f"{part} did not start: {reason}. Its log is {log_path}")
        self.part = part
        self.reason = reason
        self.log_path = log_path


class StartCancelledError(DevnetError):
    """Waiting for a part was given up because another part failed."""

    def __init__(self) -> None:
        super().__init__("The start was given up.")
