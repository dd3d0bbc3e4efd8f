"""The pages for people, as a browser behind nginx gets them with everything they refer to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from app import extensions
from devnet.supervisor import Devnet
from tests.integration.api.pages import Page
from tests.integration.deployment.conftest import Web
from tests.integration.deployment.fronts import Front, front
from tests.integration.services.lab import Lab, Owner

ORIGIN = "https://here"


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[Lab]:
    lab = Lab(clean_devnet)
    lab.configure()
    if extensions.missing_indexes():
        extensions.ensure_indexes()
    lab.begin()
    yield lab
    lab.close()


@pytest.fixture
def proxy(lab: Lab, web: Web, tmp_path: Path) -> Iterator[Front]:
    """Another than other tests' one: what it counts by address is this test's alone."""
    with front(tmp_path, web.port) as running:
        yield running


def referred_to(page: Page, path: str) -> set[str]:
    """The paths that a browser asks for to show a page; none may be on another host."""
    named = [
        *(link["href"] for link in page.attributes("link")),
        *(each.get("src") for tag in ("img", "script") for each in page.attributes(tag)),
    ]
    urls = {urljoin(f"{ORIGIN}{path}", name) for name in named if name}
    assert all(url.startswith((f"{ORIGIN}/", "data:")) for url in urls), urls
    return {url.removeprefix(ORIGIN) for url in urls if url.startswith(ORIGIN)}


def test_f15_a_certificate_comes_with_all_that_it_shows(lab: Lab, proxy: Front) -> None:
    lab.fill_pool(2)
    record = lab.registered("NFC-proxied", Owner())
    path = f"/certificates/{record.head}"

    answer = proxy.get(path)

    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy
    page = Page(answer.text)
    assert "NFC-proxied" in page.text
    assets = referred_to(page, path)
    assert any(asset.startswith("/static/") for asset in assets)
    for asset in assets:
        found = proxy.get(asset)
        assert found.status_code == 200, asset
        if asset.startswith("/static/"):
            assert "max-age" in found.headers["Cache-Control"]
    claim = f"dataHash={record.metadata_sha256}&txid={record.head}"
    document = proxy.get(f"/certificates/pdf?{claim}")
    assert document.status_code == 200
    assert document.content.startswith(b"%PDF-")


def test_s15_a_certificate_that_nobody_has_says_so(proxy: Front) -> None:
    hostile = "%3Cscript%3Ealert(1)%3C/script%3E"
    answer = proxy.get(f"/certificates/certificate.html?txid={hostile}&dataHash={'a' * 5_000}")
    assert answer.status_code in {400, 404, 414}
    assert "<script>alert" not in answer.text
    assert answer.headers["Content-Type"].startswith("text/html")


def test_f14_the_documentation_comes_with_all_that_it_shows(proxy: Front) -> None:
    answer = proxy.get("/docs")
    path = "/docs"
    if answer.is_redirect:
        path = urljoin(f"{ORIGIN}/docs", answer.headers["Location"]).removeprefix(ORIGIN)
        answer = proxy.get(path)
    assert answer.status_code == 200
    for asset in referred_to(Page(answer.text), path):
        assert proxy.get(asset).status_code == 200, asset
    assert proxy.get("/openapi.json").json()["openapi"].startswith("3.1")
