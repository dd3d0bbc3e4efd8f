"""Production does not start where nobody could get in, and says so in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from pymongo import MongoClient

from app.domain.api_keys import Scope
from app.services import api_keys, migrating
from devnet.supervisor.site import CHECKOUT
from tests.integration.api.caller import Caller
from tests.integration.api.serving import serving

SENTENCE = (
    "patchproof: there is no API key: set API_KEY, or make one with "
    "`manage.py keys create --name NAME --scope patches:write`"
)
USER, PASSWORD = "patchproof", "a-word-of-the-database"
# What gunicorn calls a failure that a restart would not mend.
APP_LOAD_ERROR = 4

Environ = dict[str, str]


@pytest.fixture
def environ(caller: Caller) -> Iterator[Environ]:
    """A production environment on the devnet's database, without API_KEY."""
    migrating.migrate()
    env = {name: value for name, value in caller.lab.env.items() if name != "API_KEY"}
    with MongoClient[dict[str, Any]](env["MONGODB_URI"]) as client:
        client.admin.command({"createUser": USER, "pwd": PASSWORD, "roles": ["root"]})
        yield env | {
            "APP_ENV": "production",
            # Regtest is the devnet's alone; its addresses are those of the test network.
            "WOC_NETWORK": "test",
            "MONGODB_URI": env["MONGODB_URI"].replace("://", f"://{USER}:{PASSWORD}@"),
        }
        client.admin.command({"dropUser": USER})


def start(environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Loads the application as a server does."""
    return subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def make(lifetime: timedelta | None = None) -> str:
    return api_keys.create("shop", [Scope.PATCHES_WRITE], lifetime).text


def test_o3_without_any_key_the_process_ends_with_one_sentence(environ: Environ) -> None:
    done = start(environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == SENTENCE + "\n"


def test_o3_without_any_key_gunicorn_ends(environ: Environ, tmp_path: Path) -> None:
    # One: of two that end at the same moment, gunicorn is told of the second while it stops for the
    # first, and calls that an error of its own. deploy/gunicorn.conf.py asks before there is any.
    with serving(environ, tmp_path, workers=1) as server:
        assert server.wait() == APP_LOAD_ERROR
        assert SENTENCE in server.log
        assert "Traceback" not in server.log


def test_one_live_key_is_enough(environ: Environ, tmp_path: Path) -> None:
    key = make()
    with serving(environ, tmp_path, workers=1) as server:
        assert server.wait() is None, server.log
        answer = requests.post(
            f"{server.base_url}/v1/patches", json={}, headers={"x-api-key": key}, timeout=30
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["field"]


def test_keys_that_have_ended_are_none(environ: Environ, monkeypatch: pytest.MonkeyPatch) -> None:
    api_keys.revoke(make().split("_")[1])
    yesterday = api_keys.utc_now() - timedelta(days=1)
    with monkeypatch.context() as patched:
        patched.setattr(api_keys, "utc_now", lambda: yesterday)
        make(timedelta(hours=1))
    assert [key.state for key in api_keys.list_keys()] != []
    done = start(environ)
    assert (done.returncode, done.stderr) == (1, SENTENCE + "\n")


def test_the_key_of_the_environment_is_enough(environ: Environ) -> None:
    done = start(environ | {"API_KEY": "k" * 32})
    assert (done.returncode, done.stderr) == (0, "")


def test_elsewhere_than_in_production_none_is_needed(environ: Environ) -> None:
    done = start(environ | {"APP_ENV": "development"})
    assert (done.returncode, done.stderr) == (0, "")
