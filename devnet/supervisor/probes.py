"""Questions that a part which works answers. Each returns what is wrong, or None."""

from __future__ import annotations

import http.client
import json
import smtplib
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from pymongo import MongoClient
from pymongo.errors import PyMongoError

TIMEOUT_SECONDS = 2.0


def find_database_problem(uri: str) -> str | None:
    client: MongoClient[dict[str, Any]] | None = None
    try:
        # Short, since the driver looks only twice a second for a server that is not there yet.
        client = MongoClient(uri, serverSelectionTimeoutMS=400)
        client.admin.command("ping")
    except PyMongoError as error:
        return f"no answer to a ping ({error.__class__.__name__})"
    finally:
        if client is not None:
            client.close()
    return None


def find_redis_problem(url: str) -> str | None:
    client = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )
    try:
        client.ping()
    except redis.RedisError as error:
        return f"no answer to a ping ({error})"
    finally:
        client.close()
    return None


def find_mail_problem(port: int) -> str | None:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=TIMEOUT_SECONDS) as client:
            client.noop()
    except OSError as error:
        return f"no SMTP greeting ({error})"
    return None


def find_http_problem(port: int, path: str) -> str | None:
    """None when the path answers 200 on the loopback interface."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(500).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer to GET {path} ({error.__class__.__name__})"
    finally:
        connection.close()
    return None if answer.status == 200 else f"GET {path} answers {answer.status}: {body}"


def find_signer_problem(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        body = json.loads(connection.getresponse().read(500))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer to GET /health ({error.__class__.__name__})"
    finally:
        connection.close()
    return None if body == {"status": "ok", "locked": False} else f"GET /health says {body}"


def find_worker_problem(broker_url: str, node: str) -> str | None:
    """None when the worker of that name answers a ping that travels through the broker."""
    with Celery(broker=broker_url, set_as_current=False) as client:
        client.conf.broker_connection_retry_on_startup = False
        try:
            answers = client.control.inspect(destination=[node], timeout=TIMEOUT_SECONDS).ping()
        except (OperationalError, redis.RedisError) as error:
            return f"the broker can't be reached ({error})"
    return None if answers and node in answers else "no answer to a ping through the broker"


def find_beat_problem(schedule: Path) -> str | None:
    """None once beat has written its schedule, which it does when it starts to tick."""
    is_written = any(schedule.parent.glob(f"{schedule.name}*"))
    return None if is_written else "no schedule was written"
