"""The pages of the documentation, as tests read them: blocks, headings, links, names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Folders that hold no page of ours.
_ELSEWHERE = {".venv", "var", "build", "dist", "node_modules"}

_FENCE = re.compile(r"( *)```(\w*)\s*")
_HEADING = re.compile(r"#{1,6} (.+?)#*")
_LINK = re.compile(
    r"!?\[[^\]]*\]\(([^)\s]+)\)|<(?:a|img|source)\b[^>]*?(?:href|src|srcset)=\"([^\"]+)\""
)
_CODE = re.compile(r"``(.+?)``|`([^`]+)`")
_TESTED_ELSEWHERE = re.compile(r"<!-- tested in (\S+) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block. `line` is that of the opening fence, counted from 1."""

    language: str
    text: str
    line: int
    # The block that directly follows, where it shows what this one answers: "json" or "text".
    answer: Block | None = None
    # The test that runs it instead, where a comment before the block names one.
    tested_in: str | None = None

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@dataclass(frozen=True)
class Page:
    """One page in Markdown."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        return list(_with_answers(list(_read_blocks(self.text.splitlines()))))

    @cached_property
    def prose(self) -> str:
        """The page without its blocks; their lines are empty."""
        lines = self.text.splitlines()
        for block in self.blocks:
            end = block.line + len(block.lines) + 1
            lines[block.line - 1 : end] = [""] * (end - block.line + 1)
        return "\n".join(lines)

    @property
    def anchors(self) -> set[str]:
        """The anchors of its headings, as GitHub makes them."""
        found: dict[str, int] = {}
        anchors = set()
        for line in self.prose.splitlines():
            heading = _HEADING.fullmatch(line.rstrip())
            if heading is None:
                continue
            slug = re.sub(r"[^\w\- ]", "", heading[1].strip().lower()).replace(" ", "-")
            number = found[slug] = found.get(slug, -1) + 1
            anchors.add(f"{slug}-{number}" if number else slug)
        return anchors

    @property
    def links(self) -> list[str]:
        """Where its links and pictures lead."""
        without_code = _CODE.sub("", self.prose)
        return [each[1] or each[2] for each in _LINK.finditer(without_code)]

    @property
    def spans(self) -> list[str]:
        """What stands between backticks in its prose."""
        return [each[1] or each[2] for each in _CODE.finditer(self.prose)]

    @property
    def commands(self) -> list[str]:
        """All that is typed: lines of its shell blocks, continued ones joined, and its spans."""
        typed = list(self.spans)
        for block in self.blocks:
            if block.language in ("sh", "console", ""):
                typed.extend(re.sub(r"\\\n\s*", "", block.text).splitlines())
        return typed


def list_pages() -> list[Page]:
    """Every page of the checkout, in a stable order."""
    paths = [
        path
        for path in sorted(ROOT.rglob("*.md"))
        if not any(
            part in _ELSEWHERE or part.startswith(".") for part in path.relative_to(ROOT).parts
        )
    ]
    return [Page(path) for path in paths]


def list_documents() -> list[Page]:
    """The README, first, and the pages of docs: those whose commands are run."""
    documents = [page for page in list_pages() if page.name.startswith("docs/")]
    return [Page(ROOT / "README.md"), *documents]


def _read_blocks(lines: list[str]) -> Iterator[Block]:
    opened: tuple[int, str, str] | None = None
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.fullmatch(line)
        if fence is None:
            continue
        if opened is None:
            opened = (number, fence[2], fence[1])
            continue
        start, language, indent = opened
        body = [each.removeprefix(indent) for each in lines[start : number - 1]]
        before = _TESTED_ELSEWHERE.fullmatch(lines[start - 2].strip()) if start > 1 else None
        text = "\n".join(body)
        yield Block(language, text, start, tested_in=before[1] if before else None)
        opened = None
    assert opened is None, f"the block of line {opened} has no end"


def _with_answers(blocks: list[Block]) -> Iterator[Block]:
    for block, after in pairwise([*blocks, None]):
        assert block is not None
        # Nothing but an empty line may stand between.
        is_next = after is not None and after.line <= block.line + len(block.lines) + 3
        is_answer = is_next and after.language in ("json", "text")
        is_run = block.language in ("sh", "python")
        yield replace(block, answer=after) if is_run and is_answer else block
