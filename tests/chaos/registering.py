"""A brand's backend that registers patches at two hosts and goes on at the other when one is gone.

`python -m tests.chaos.registering` reads one JSON object: `hosts`, `api_key`, `uids`, `owner`,
`threads`. It writes one JSON line for each patch that was accepted, and ends with 1 where one was
refused.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Lock
from typing import Any

import requests

CONNECT_SECONDS, ANSWER_SECONDS = 1.0, 5.0
PATIENCE_SECONDS = 90.0
# Answers after which the same request may be sent again.
LATER = frozenset({409, 429, 500, 502, 503, 504})
_output = Lock()
_silent: set[str] = set()


def register(order: Mapping[str, Any], uid: str, first_host: int) -> dict[str, Any]:
    """Sends one registration until it is accepted; answers how that went."""
    body = {
        "product": {"uid_tag_id": uid, "name": "Rain jacket"},
        "metadata": {"notes": "blue, size M"},
        "auth": {"owner": order["owner"]},
    }
    headers = {"x-api-key": order["api_key"], "Idempotency-Key": f"order-{uid}"}
    hosts, deadline = order["hosts"], time.monotonic() + PATIENCE_SECONDS
    for attempt in count():
        host = hosts[(first_host + attempt) % len(hosts)]
        if host in _silent and len(_silent) < len(hosts):
            continue
        url = f"{host}/v1/patches"
        answer = _try(url, body, headers)
        if answer is None:
            _silent.add(host)
        if answer is not None and answer.ok:
            return {"uid": uid, "attempts": attempt + 1, "status": answer.status_code}
        is_over = time.monotonic() > deadline
        if is_over or (answer is not None and answer.status_code not in LATER):
            said = "no answer" if answer is None else answer.text
            raise RuntimeError(f"{uid} at {url}: {said}")
        time.sleep(0.05)
    raise AssertionError("not reached")


def _try(url: str, body: object, headers: Mapping[str, str]) -> requests.Response | None:
    try:
        return requests.post(
            url, json=body, headers=headers, timeout=(CONNECT_SECONDS, ANSWER_SECONDS)
        )
    except requests.RequestException:
        return None


def main() -> None:
    order = json.load(sys.stdin)

    def run(numbered: tuple[int, str]) -> None:
        number, uid = numbered
        accepted = register(order, uid, number)
        with _output:
            print(json.dumps(accepted), flush=True)

    with ThreadPoolExecutor(order["threads"]) as pool:
        list(pool.map(run, enumerate(order["uids"])))


if __name__ == "__main__":
    main()
