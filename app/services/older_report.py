"""What an import of an older system's database found: numbers, and each row that was not taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

# More than anybody reads at once; the rest is counted.
_MAX_ROWS = 100_000
_LONGEST_REASON = 300


class Outcome(StrEnum):
    """What became of a row.

    `kept_as_failed` is a record that is there to be asked for and counts for nothing, `waiting` one
    that a later run may take, `refused` what stays behind in the older database alone.
    """

    IMPORTED = "imported"
    THERE_ALREADY = "there_already"
    KEPT_AS_FAILED = "kept_as_failed"
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True)
class RowNote:
    """A row that was not simply taken, and why."""

    collection: str
    id: str
    outcome: Outcome
    reason: str
    uid_tag_id: str | None = None


@dataclass
class ImportReport:
    """Counts by collection and outcome; `left_out` are collections that are not imported at all."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: list[RowNote] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    is_dry_run: bool = False

    def count(self, collection: str, outcome: Outcome, number: int = 1) -> None:
        if number:
            mine = self.counts.setdefault(collection, {})
            mine[outcome.value] = mine.get(outcome.value, 0) + number

    def note(
        self, collection: str, row_id: object, outcome: Outcome, reason: str, uid: str | None = None
    ) -> None:
        """Counts a row and says why; ids and uids of hostile rows are cut and made printable."""
        self.count(collection, outcome)
        if len(self.notes) < _MAX_ROWS:
            text = reason[:_LONGEST_REASON]
            self.notes.append(RowNote(collection, _plain(row_id), outcome, text, _uid(uid)))

    @property
    def is_whole(self) -> bool:
        """Whether nothing was refused and nothing waits."""
        left = (Outcome.REFUSED.value, Outcome.WAITING.value)
        return not any(mine.get(each) for mine in self.counts.values() for each in left)


def _plain(value: object) -> str:
    text = str(value) if isinstance(value, str | int) or hasattr(value, "binary") else repr(value)
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:100])


def _uid(uid: str | None) -> str | None:
    return None if uid is None else _plain(uid)
