"""Whatever stands in an address: a refusal that shows nothing of it, with every header in place."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import pytest

from tests.contracts.contract.wire import Wire, new_uid
from tests.contracts.test_routes import operations_of
from tests.integration.services.lab import Owner

TXID = "ab" * 32
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
# As it stands in the request line, and what must not come back.
HOSTILE = {
    "script": (quote("<script>alert(1)</script>"), "<script>alert"),
    "attribute": (quote('"><img src=x onerror=alert(1)>'), "onerror"),
    "template": (quote("{{7*7}}${7*7}<%=7*7%>"), "7*7"),
    "ten kilobytes": ("x" * 10240, "xxxxxxxxxx"),
    "zero": ("%00", "\x00"),
    "zeros inside": ("abcdef%00ghijkl", "ghijkl"),
    "lone surrogate": ("%ED%A0%80abcdefgh", "abcdefgh"),
    "no utf-8": ("%FF%FE%80abcdefgh", "abcdefgh"),
    "line break": (quote("abcdefgh\r\nSet-Cookie: a=b"), "Set-Cookie"),
    "dots": ("../../../../etc/passwd", "root:"),
    "encoded dots": ("..%2f..%2f..%2fsetup.cfg", "install_requires"),
    "double encoded dots": ("%252e%252e%252f%252e%252e%252fsetup.cfg", "install_requires"),
    "backslashes": ("..%5c..%5c..%5csetup.cfg", "install_requires"),
    "absolute": ("%2fetc%2fpasswd", "root:"),
    "operator": (quote("[$ne]=1&{$gt:''}"), "$gt"),
    "turned text": (quote("\u202egpj.exe\u2066"), "\u202e"),
}
PLACES = [
    ("GET", "/{}"),
    ("GET", "/docs/{}"),
    ("GET", "/docs/md/{}"),
    ("GET", "/static/{}"),
    ("GET", "/certificates/{}"),
    ("GET", "/certificates/certificate.html?dataHash={}&txid={}"),
    ("GET", "/certificates/certificate.html?dataHash=" + TXID + "&txid=" + TXID + "&network={}"),
    ("GET", "/certificates/pdf?dataHash={}&txid={}"),
    ("GET", "/v1/patches/verify/{}"),
    ("GET", "/v1/patches/{}/history"),
    ("GET", "/v1/patches/pending/registration/{}"),
    ("GET", "/v1/patches/pending/transfer/{}"),
    ("GET", "/v1/pos/claim-status/{}"),
    ("GET", "/v1/privacy/export?cursor={}"),
    ("GET", "/v1/admin/{}"),
    ("POST", "/v1/patches/{}/transfer-ownership"),
    ("POST", "/v1/patches/{}/unlock-challenge"),
    ("POST", "/v1/patches/{}/unlock-content"),
    ("POST", "/v1/admin/batch-anchor?limit={}"),
]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str


def ask(wire: Wire, method: str, target: str, **headers: str) -> Answer:
    """Sends the target to the letter: other libraries tidy it up."""
    line = http.client.HTTPConnection(str(urlsplit(wire.url).netloc), timeout=60)
    line.putrequest(method, target, skip_accept_encoding=True)
    body = b"{}" if method == "POST" else b""
    given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    for name, value in given.items():
        line.putheader(name, value)
    line.endheaders(body)
    response = line.getresponse()
    text = response.read().decode("utf-8")
    line.close()
    return Answer(response.status, response.headers, text)


def require_guarded(answer: Answer) -> None:
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["X-Frame-Options"]
    assert answer.headers["Set-Cookie"] is None


@pytest.mark.parametrize(("method", "place"), PLACES)
@pytest.mark.parametrize("accept", ["*/*", BROWSER], ids=["program", "browser"])
def test_hostile_text_in_an_address_is_refused_and_not_shown(
    wire: Wire, method: str, place: str, accept: str
) -> None:
    credentials = {**wire.key, **wire.token(), "Accept": accept}
    for name, (text, poison) in HOSTILE.items():
        answer = ask(wire, method, place.replace("{}", text), **credentials)

        assert 400 <= answer.status < 500, (name, answer)
        assert poison not in answer.text, (name, answer)
        assert all(poison not in value for value in answer.headers.values()), (name, answer)
        require_guarded(answer)
        if answer.headers["Content-Type"].startswith("application/json"):
            error = json.loads(answer.text)["error"]
            assert error["status"] == answer.status, name
        else:
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8", name
            assert "<script" not in answer.text, name


def test_hostile_text_that_is_stored_is_no_markup_where_it_is_shown(wire: Wire) -> None:
    uid = new_uid()
    evil = '</p><script>alert("x")</script>'
    product = {"uid_tag_id": uid, "name": evil, "material": "<b>\u202ewool"}
    answer = wire.register(uid, Owner(), product=product, metadata={"notes": evil})
    txid = answer.json()["txid"]

    page = ask(wire, "GET", f"/certificates/{txid}")
    told = ask(wire, "GET", f"/v1/patches/verify/{uid}", Accept=BROWSER)

    assert page.status == 200
    assert "<script" not in page.text
    assert "&lt;script" in page.text
    # Where it is told as it was sent, no browser takes it for a page.
    assert told.headers["Content-Type"] == "application/json; charset=utf-8"
    assert told.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/docs/x", "/static/x.css", "/certificates/a/b"])
def test_where_people_come_an_unknown_path_is_a_page(wire: Wire, path: str) -> None:
    page = ask(wire, "GET", path, Accept=BROWSER)
    program = ask(wire, "GET", path)

    assert (page.status, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert page.headers["X-Request-Id"] in page.text
    assert (program.status, json.loads(program.text)["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/v1", "/v1/patches/x", "/api/svd/x", "/internal", "/x"])
def test_elsewhere_it_is_the_shared_body_for_everybody(wire: Wire, path: str) -> None:
    for accept in ("*/*", BROWSER):
        answer = ask(wire, "GET", path, Accept=accept)
        assert (answer.status, json.loads(answer.text)["code"]) == (404, "not_found")


def test_head_is_get_without_a_body_and_options_needs_nothing(wire: Wire) -> None:
    document = wire.get("/openapi.json").json()
    for method, path in operations_of(document):
        target = path.replace("{name}", "errors.md").replace("{txid}", TXID)
        for name in ("uid_tag_id", "record_id", "claim_id"):
            target = target.replace(f"{{{name}}}", "ab" * 12)
        options = ask(wire, "OPTIONS", target)
        assert (options.status, options.text) == (200, ""), path
        assert method in options.headers["Allow"].split(", "), path
        if method == "GET" and not path.startswith("/v1/admin"):
            head = ask(wire, "HEAD", target, **wire.key)
            assert head.status == ask(wire, "GET", target, **wire.key).status, path
            assert head.text == "", path
            require_guarded(head)


def test_methods_that_nobody_has_are_405_or_404(wire: Wire) -> None:
    for method in ("TRACE", "PATCH", "PROPFIND", "<SCRIPT>"):
        for path in ("/v1/patches", "/docs/", "/nowhere"):
            answer = ask(wire, method, path)
            assert answer.status in (400, 404, 405), (method, path)
            assert "<SCRIPT" not in answer.text
