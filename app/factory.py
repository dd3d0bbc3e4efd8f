"""Makes the web application: reads like a table of contents."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from flask_openapi3.models.info import Info
from flask_openapi3.models.server import Server
from flask_openapi3.openapi import OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix

from app import extensions, logs
from app.api import (
    authentication,
    bodies,
    counting,
    errors,
    headers,
    http_metrics,
    tracing,
    validation,
)
from app.api.admin import admin
from app.api.assets import assets
from app.api.canary import canary
from app.api.certificates import certificates
from app.api.codes import codes
from app.api.custody import custody
from app.api.documents import documents
from app.api.health import health
from app.api.metrics import metrics
from app.api.patches import patches
from app.api.pos import pos
from app.api.privacy import privacy
from app.api.routing import UidConverter, without_trailing_slash
from app.api.schemas.errors import ErrorBody
from app.api.sessions import sessions
from app.api.svd import svd
from app.api.unlocking import unlocking
from app.api.verification import verification
from app.config import Settings, ignored_settings, load_settings

logger = logging.getLogger(__name__)

BLUEPRINTS = (
    health,
    metrics,
    documents,
    patches,
    pos,
    verification,
    custody,
    unlocking,
    admin,
    codes,
    sessions,
    svd,
    privacy,
    canary,
    certificates,
    assets,
)


def create_app(
    settings: Settings | None = None, environ: Mapping[str, str] | None = None
) -> OpenAPI:
    """Makes the web application; opens no connection.

    Raises:
        SettingsError: `settings` is None and the environment can't be used.
    """
    if settings is None:
        settings = load_settings(environ)
    logs.configure(settings.log_level, service="patchproof-api", release=settings.deploy_sha)
    _log_ignored_settings(environ)
    extensions.init(settings)

    app = _make_openapi(settings)
    _configure_http(app, settings)
    _hook_requests(app)
    errors.register(app)
    for blueprint in BLUEPRINTS:
        app.register_api(blueprint)
    return app


def _log_ignored_settings(environ: Mapping[str, str] | None) -> None:
    for name in ignored_settings(environ):
        logger.warning("setting is ignored", extra={"event": "settings.ignored", "setting": name})


def _make_openapi(settings: Settings) -> OpenAPI:
    return OpenAPI(
        __name__,
        info=Info(
            title="PatchProof",
            version="1.0.0",
            description="Signed records of authentic products on the BSV chain.",
        ),
        servers=[Server(url=settings.public_base_url)],
        security_schemes=authentication.SECURITY_SCHEMES,
        validation_error_callback=validation.refuse,
        validation_error_model=ErrorBody,
        # The library documents this status, in a shape of its own, for routes that do not: all do.
        validation_error_status=500,
        doc_ui=False,
        static_folder=None,
    )


def _configure_http(app: OpenAPI, settings: Settings) -> None:
    app.request_class = bodies.JsonRequest
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    app.url_map.converters["uid"] = UidConverter
    # A uid_tag_id may hold two slashes in a row.
    app.url_map.merge_slashes = False
    app.wsgi_app = without_trailing_slash(app.wsgi_app)  # type: ignore[assignment]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]


def _hook_requests(app: OpenAPI) -> None:
    # The first, so that it times and counts what all others do.
    http_metrics.init_app(app)
    app.before_request(tracing.begin)
    counting.init_app(app)
    app.before_request(authentication.enforce)
    # Flask calls these from the last to the first.
    app.after_request(tracing.finish)
    app.after_request(headers.add_security_headers)
    app.after_request(headers.add_cors_headers)
    app.after_request(headers.add_entity_tag)
    app.after_request(counting.finish)
    app.teardown_request(tracing.end)
