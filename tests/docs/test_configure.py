"""The page on settings has the groups of the example file, and what has no default."""

from __future__ import annotations

import re

from app.config import Settings
from tests.docs.pages import ROOT, Page

PAGE = Page(ROOT / "docs" / "operations" / "configure.md")
EXAMPLE = (ROOT / "deploy" / "env.example").read_text()
GROUP = re.compile(r"^# --- (.+) ---$", re.MULTILINE)
SETTING = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b")
FIELDS = {name.upper() for name in Settings.model_fields}


def read_groups() -> dict[str, set[str]]:
    """The groups of the example file, in its order, with their settings."""
    parts = GROUP.split(EXAMPLE)[1:]
    names = (set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)) for text in parts[1::2])
    return dict(zip(parts[::2], names, strict=True))


def read_sections(heading: str, mark: str) -> dict[str, str]:
    """The sections under a heading of the page, by their titles."""
    text = PAGE.prose.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    parts = re.split(rf"^{mark} (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_page_explains_the_groups_of_the_example_in_their_order() -> None:
    assert list(read_sections("The groups", "###")) == list(read_groups())


def test_what_a_group_names_stands_in_that_group() -> None:
    groups = read_groups()
    for title, text in read_sections("The groups", "###").items():
        named = set(SETTING.findall(text))
        assert named, title
        # A group may point at the mode that decides about its defaults.
        assert named <= groups[title], title


def test_what_has_no_default_is_listed() -> None:
    text = PAGE.prose.split("\n## What has no default\n")[1].split("\n\n")[0]
    listed = {name for name in SETTING.findall(text) if name in FIELDS}
    required = {
        name.upper() for name, field in Settings.model_fields.items() if field.is_required()
    }
    assert required <= listed
    # Redis may have its password in one of two places.
    assert listed - required == {"REDIS_PASSWORD"}


def test_every_secret_is_told_how_to_change() -> None:
    secrets = {
        name.upper()
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    text = PAGE.prose.split("\n## Changing secrets\n")[1]
    told = set(SETTING.findall(text))
    # The password of Redis changes as REDIS_URL does, and the previous secret of tokens is told
    # with the present one.
    assert secrets - told == {"REDIS_PASSWORD"}
