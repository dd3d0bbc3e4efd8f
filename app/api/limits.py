"""How often a client may call a route: the limits that routes name, as docs/limits.md explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from flask import current_app, g, request

from app import extensions
from app.api.callers import authenticated_client, client_network, digest

# Answers the parts of a client's name, from the validated arguments of the view.
Client = Callable[[Mapping[str, Any]], Sequence[str]]


class Counted(Enum):
    """Which requests a limit counts."""

    ALL = auto()
    # A place is taken before the request is worked on and given back when it succeeds, so that
    # requests at the same time can't have more places than there are.
    FAILURES = auto()
    # Those whose credential was refused; at the door it is only looked at.
    REFUSALS = auto()


@dataclass(frozen=True)
class Limit:
    """How often one client may do something.

    `name` is in its keys in Redis; `setting` begins the names of its two settings,
    `<SETTING>_WINDOW_MS` and `<SETTING>_MAX`. While Redis is away a route with a closed one answers
    503, with open ones only it goes on.
    """

    name: str
    setting: str
    client: Client
    is_at_door: bool = False
    is_closed: bool = False
    counted: Counted = Counted.ALL

    def rate(self) -> str:
        """The limit as flask-limiter reads it; it knows whole seconds only."""
        settings = extensions.get().settings
        maximum = getattr(settings, f"{self.setting}_max")
        milliseconds = getattr(settings, f"{self.setting}_window_ms")
        return f"{maximum} per {-(-milliseconds // 1000)} seconds"

    def key(self) -> str:
        """Whom the current request counts for, as a digest."""
        return digest(*self.client(g.get("arguments", {})))


def _address(_arguments: Mapping[str, Any]) -> Sequence[str]:
    return (client_network(),)


def _user_and_address(arguments: Mapping[str, Any]) -> Sequence[str]:
    return (_spelt_alike(arguments["body"].user_id), client_network())


def _identifier(arguments: Mapping[str, Any]) -> Sequence[str]:
    return (_spelt_alike(arguments["body"].identifier),)


def _identifier_and_address(arguments: Mapping[str, Any]) -> Sequence[str]:
    return (_spelt_alike(arguments["body"].identifier), client_network())


def _authenticated(_arguments: Mapping[str, Any]) -> Sequence[str]:
    return (authenticated_client(),)


def _spelt_alike(text: str) -> str:
    return text.strip().lower()


# Everything under /api by address, so that one address can't wear the login out for others. A
# read needs nothing from Redis and goes on without it; both count together.
PUBLIC = Limit("public", "public_api", _address, is_at_door=True, is_closed=True)
PUBLIC_READING = replace(PUBLIC, is_closed=False)

# By user and address together: a stranger elsewhere can't use up the places of a user. Guessing a
# signature is hopeless, so nothing is counted by user alone.
SVD_BEGIN = Limit("svd-begin", "svd_begin", _user_and_address, is_closed=True)
SVD_COMPLETE = Limit("svd-complete", "svd_complete", _user_and_address, is_closed=True)
SVD_CANARY = Limit("svd-canary", "svd_canary", _address)

AUTH_ADDRESS = Limit("auth-address", "auth_address", _address, is_at_door=True, is_closed=True)
# By identifier wherever it is asked from: each request is a mail to somebody.
AUTH_REQUEST = Limit("auth-request", "auth_request", _identifier, is_closed=True)
# A code can be guessed, so wrong ones count by identifier too; in a number that takes several
# addresses, so that one stranger can't keep somebody from logging in.
AUTH_SUBMIT = Limit(
    "auth-submit",
    "auth_submit",
    _identifier_and_address,
    is_closed=True,
    counted=Counted.FAILURES,
)
AUTH_SUBMIT_IDENTIFIER = Limit(
    "auth-submit-identifier",
    "auth_submit_identifier",
    _identifier,
    is_closed=True,
    counted=Counted.FAILURES,
)

CLAIM_INTENT = Limit("claim-intent", "claim_intent", _address, is_at_door=True, is_closed=True)
READING = Limit("reading", "reading", _address, is_at_door=True)
# Above READING: making one costs more than reading does.
CERTIFICATE_PDF = Limit("certificate-pdf", "certificate_pdf", _address, is_at_door=True)
POLLING = Limit("polling", "polling", _address, is_at_door=True)
WRITING = Limit("writing", "writing", _authenticated)
# An erasure and an export read and write more than anything else that one asks for oneself.
PRIVACY = Limit("privacy", "privacy", _authenticated)
# Every route with an API key has it. A key that was good within a day passes anyway, so that who
# shares an address with somebody who tries keys goes on working.
REFUSED_KEY = Limit(
    "refused-key", "refused_key", _address, is_at_door=True, counted=Counted.REFUSALS
)

# In the order in which they are counted: the first that refuses is the last that is asked.
DOOR = (
    REFUSED_KEY,
    PUBLIC,
    PUBLIC_READING,
    AUTH_ADDRESS,
    CLAIM_INTENT,
    READING,
    CERTIFICATE_PDF,
    POLLING,
)


def declared_by(view: Callable[..., Any]) -> Sequence[Limit]:
    """The limits that a view was declared with."""
    limits: Sequence[Limit] = getattr(view, "limits", ())
    return limits


def of_route() -> Sequence[Limit]:
    """The limits of the route that was asked for; none where there is no such route."""
    view = current_app.view_functions.get(request.endpoint or "")
    return () if view is None else declared_by(view)
