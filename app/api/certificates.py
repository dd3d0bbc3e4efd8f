"""Certificates: pages and a PDF, made here from what the database proves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import segno
from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app import extensions
from app.api import pages
from app.api.answers import certificate_url, public_url
from app.api.authentication import ANYONE
from app.api.errors import answer_error
from app.api.limits import CERTIFICATE_PDF, READING
from app.api.routing import route
from app.api.schemas.certificates import CertificatePath, CertificateQuery
from app.domain.certificates import Certificate, spell_moment
from app.domain.clock import utc_now
from app.errors import CertificateErasedError
from app.services import certificate_pdf
from app.services import certificates as service

certificates = APIBlueprint(
    "certificates", __name__, url_prefix="/certificates", abp_tags=[Tag(name="Certificates")]
)

_CACHE_SECONDS = 60
_PAGE = {"content": {"text/html": {"schema": {"type": "string"}}}}
_PAGES = dict.fromkeys((200, 400, 404, 409, 410, 429, 500, 503), _PAGE)
_PDF = {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}
# What a reader is told of each failure: the word at the top and what it means.
_PROBLEMS: Mapping[str, tuple[str, str]] = {
    "certificate_not_found": (
        "Unknown",
        "We know no record with this transaction. A certificate that leads here is not ours.",
    ),
    "certificate_pending": (
        "Not yet",
        "The record is on its way to the chain, so there is no certificate. Look again soon.",
    ),
    "certificate_erased": (
        "Erased",
        "The person whom this record was about had it erased, so nobody can check it any more.",
    ),
    "certificate_mismatch": (
        "Does not match",
        "There is such a record, but it is not what this address says. Do not trust the address.",
    ),
    "invalid_request": (
        "Not an address of a certificate",
        "A part of the address is missing or damaged. Scan the code or copy the address again.",
    ),
    "rate_limited": ("Too often", "Too many requests came from where you are. Wait a minute."),
    "service_unavailable": (
        "Not now",
        "A part of the service is away. Nothing is wrong with the certificate; try again soon.",
    ),
}
_ANY_PROBLEM = (
    "Something went wrong",
    "The fault is here, not with you. This says nothing about the product.",
)


@route(
    certificates,
    "GET",
    "/certificate.html",
    authentication=ANYONE,
    responses=_PAGES,
    limits=(READING,),
)
def show_claimed(query: CertificateQuery) -> Response:
    """Show the certificate of a record, if it is what the address says

    A page, failures too. `dataHash` and `txid` are needed; whatever else the address says must
    be so of the record, or the page says that it is not (409).
    """
    return _page(service.certify(query.reference))


@route(
    certificates,
    "GET",
    "/pdf",
    authentication=ANYONE,
    responses={200: _PDF},
    errors=(400, 404, 409, 410, 503),
    limits=(READING, CERTIFICATE_PDF),
)
def print_out(query: CertificateQuery) -> Response:
    """Hand out the certificate of a record to be printed

    A4, one page, the same bytes for the same state. Failures have the shared body.
    """
    certificate = service.certify_for_print(query.reference)
    settings = extensions.get().settings
    sheet = certificate_pdf.Sheet(certificate, settings.brand_name, _address(certificate))
    response = Response(content_type="application/pdf")
    name = f"patchproof-certificate-{query.txid}.pdf"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = f"public, max-age={_CACHE_SECONDS}"
    response.set_etag(hashlib.sha256(f"{settings.deploy_sha} {sheet}".encode()).hexdigest())
    # Who has it already costs no second one.
    if response.make_conditional(request).status_code != 304:
        response.set_data(certificate_pdf.render(sheet))
    return response


@route(
    certificates,
    "GET",
    "/<txid>",
    authentication=ANYONE,
    responses=_PAGES,
    limits=(READING,),
)
def show(path: CertificatePath) -> Response:
    """Show the certificate of a record

    A page, failures too.
    """
    return _page(service.certify(path.reference))


@certificates.errorhandler(Exception)
def show_problem(error: Exception) -> Response:
    """A page with the status and headers of the shared answer; in place of a PDF that itself."""
    response = answer_error(error)
    if request.endpoint == "certificates.print_out":
        return response
    problem: dict[str, Any] = response.get_json()["error"]
    word, explanation = _PROBLEMS.get(problem["code"], _ANY_PROBLEM)
    current = error.current_head if isinstance(error, CertificateErasedError) else None
    is_elsewhere = current not in (None, (request.view_args or {}).get("txid"))
    return pages.show_problem(
        response,
        word,
        explanation,
        details=problem.get("details", ()),
        current_url=f"/certificates/{current}" if is_elsewhere else None,
    )


def _page(certificate: Certificate) -> Response:
    address = _address(certificate)
    response = Response(
        pages.render(
            "certificates/certificate.html",
            certificate=certificate,
            address=address,
            code=_code(address),
            current_url=public_url(f"/certificates/{certificate.current_head}"),
            pdf_url=certificate_url(certificate.metadata_sha256, certificate.head, "pdf"),
            checked=spell_moment(utc_now()),
            spell=spell_moment,
        )
    )
    response.headers["Cache-Control"] = f"public, max-age={_CACHE_SECONDS}"
    response.add_etag()
    response.make_conditional(request)
    return pages.as_page(response)


def _address(certificate: Certificate) -> str:
    """What the code leads to; made from settings alone, whatever host was asked."""
    return public_url(f"/certificates/{certificate.head}")


def _code(address: str) -> str:
    """A QR code as an image that needs no request of its own."""
    return segno.make(address, error="m", micro=False).svg_data_uri(
        scale=4, border=4, dark="#1b2a33", light="#ffffff"
    )
