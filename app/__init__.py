"""PatchProof: signed records of authentic products on the BSV chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI

    from app.config import Settings


def create_app(
    settings: Settings | None = None, environ: Mapping[str, str] | None = None
) -> OpenAPI:
    """Makes the web application, see `app/factory.py`.

    Imported here and not above: the signer and the devnet use `app.bitcoin` and shall not load a
    web framework, or anything of the service, with it.
    """
    from app.factory import create_app as create  # noqa: PLC0415

    return create(settings, environ)
