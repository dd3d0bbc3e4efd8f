"""What the README promises a stranger: one command, one file to source, curl; then nothing left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchproof_client import Network, OwnerKey
from tests.conftest import outside_settings
from tests.e2e.system import processes_of

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = """
set -euo pipefail
cd /
source "$DEVNET/env"
say() { curl --silent --show-error --fail-with-body -H 'content-type: application/json' "$@"; }
member() { "$PYTHON" -c "import json, sys; print(json.load(sys.stdin)$1)"; }

say "$BASE_URL/ready"; echo
say "$CHAIN_CONTROL_URL/fund" -d '{"address": "'"$UTXO_FUNDING_ADDRESS"'", "satoshis": 50000}'
say "$CHAIN_CONTROL_URL/mine" -d '{"blocks": 1}'
"$PYTHON" "$CHECKOUT/manage.py" utxo sync

body='{"product": {"uid_tag_id": "'"$TAG"'", "name": "Ørsted"}, "auth": {"owner": "'"$OWNER"'"}}'
pending=$(say "$BASE_URL/v1/patches" -H "x-api-key: $API_KEY" -d "$body" | member "['pendingId']")
for try in $(seq 200); do
  status=$(say "$BASE_URL/v1/patches/pending/registration/$pending" | member "['status']")
  if [ "$status" = confirmed ]; then break; fi
  sleep 0.1
done
say "$BASE_URL/v1/patches/verify/$TAG" | member "['status']"
txid=$(say "$BASE_URL/v1/patches/$TAG/history" | member "['events'][0]['txid']")
say "$WOC_BASE_URL/tx/$txid/hex" > /dev/null
echo "on the chain: $txid"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where a devnet lives that is down at the end, whatever happened."""
    yield tmp_path / "devnet"
    _manage(tmp_path / "devnet", "down")


@pytest.mark.slow
def test_strangers_script_uses_the_api_and_down_leaves_nothing(directory: Path) -> None:
    up = _manage(directory, "up", "--detach", "--timeout", "90")
    assert up.returncode == 0, up.stderr
    assert processes_of(directory)

    owner = OwnerKey.generate(Network.REGTEST).address
    told = subprocess.run(
        ["/bin/bash", "-c", SCRIPT],
        env={
            "PATH": outside_settings()["PATH"],
            "PYTHON": sys.executable,
            "CHECKOUT": str(CHECKOUT),
            "DEVNET": str(directory),
            "OWNER": owner,
            "TAG": "04:7E:5A:10:2B:6C:80",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    lines = told.stdout.splitlines()
    assert lines[-2] == "authentic"
    assert lines[-1].startswith("on the chain: ")

    down = _manage(directory, "down")
    assert down.returncode == 0, down.stderr
    assert processes_of(directory) == {}
    assert _manage(directory, "status").returncode == 1
    assert "Nothing was running" in _manage(directory, "down").stdout


def _manage(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "devnet", *words, "--dir", str(directory)],
        cwd=CHECKOUT,
        env=outside_settings(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
