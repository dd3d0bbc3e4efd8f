"""Logs are shown line by line, while they grow."""

from __future__ import annotations

from pathlib import Path

from devnet.supervisor.tailing import follow, last_lines


def test_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("one\ntwo\nthree")
    assert last_lines(log, 2) == ["two", "three"]
    assert last_lines(tmp_path / "absent.log", 2) == []


def test_follow_yields_whole_lines_of_every_log(tmp_path: Path) -> None:
    a, b = tmp_path / "a.log", tmp_path / "b.log"
    a.write_text("old\n")
    lines = follow({"a": a, "b": b})
    assert next(lines) is None
    with a.open("a") as file:
        file.write("new\nhal")
    b.write_text("first\n")
    assert [next(lines), next(lines), next(lines)] == [("a", "new"), ("b", "first"), None]
    with a.open("a") as file:
        file.write("f\n")
    assert next(lines) == ("a", "half")


def test_follow_starts_over_when_a_log_is_replaced(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("a long line from before\n")
    lines = follow({"a": log})
    assert next(lines) is None
    log.write_text("fresh\n")
    assert next(lines) == ("a", "fresh")
