"""Public vectors from the folder that PATCHPROOF_VECTORS names; see conftest for when they run."""

import json
import os
from pathlib import Path

import pytest

from app.domain.canonical import canonical_json

FOLDER = Path(os.environ["PATCHPROOF_VECTORS"]) / "jcs"
NAMES = sorted(path.name for path in (FOLDER / "input").iterdir())


def test_the_public_set_is_complete() -> None:
    assert len(NAMES) == 6


@pytest.mark.parametrize("name", NAMES)
def test_canonical_json_of_the_public_set(name: str) -> None:
    value = json.loads((FOLDER / "input" / name).read_text(encoding="utf-8"))
    assert canonical_json(value) == (FOLDER / "output" / name).read_bytes()
