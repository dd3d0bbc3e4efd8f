"""Probes: is the process alive, and can it do its work."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer
from app.api.authentication import ANYONE
from app.api.routing import route
from app.api.schemas.health import Alive, NotReady, Ready
from app.services import readiness as service

health = APIBlueprint("health", __name__, abp_tags=[Tag(name="Health")])
_PONG = {"content": {"text/plain": {"schema": {"type": "string", "const": "pong"}}}}


@route(health, "GET", "/__ping", authentication=ANYONE, responses={200: _PONG})
def ping() -> Response:
    """Answer pong

    Text, for whoever only wants to know whether anything answers. Asks no other part.
    """
    return Response("pong", content_type="text/plain; charset=utf-8")


@route(health, "GET", "/health", authentication=ANYONE, responses={200: Alive})
def alive() -> Response:
    """Tell that the process is alive

    Asks no other part: a process that can't reach its database is still alive.
    """
    return answer({"status": "ok"})


@route(health, "GET", "/ready", authentication=ANYONE, responses={200: Ready, 503: NotReady})
def ready() -> Response:
    """Tell whether every part that the service needs answers

    503 names in `parts` what is missing and why. `degraded` names parts that are away while
    records are still accepted and kept.
    """
    readiness = service.check()
    problems = readiness.problems
    if not readiness.is_ready:
        return answer({"ready": False, "parts": problems}, 503)
    return answer({"ready": True, "degraded": problems} if problems else {"ready": True})
