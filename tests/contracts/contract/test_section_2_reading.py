"""Section 2: health, metrics, documents."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from app.services.login_metrics import AGE_BUCKETS
from tests.contracts.contract.people import Person
from tests.contracts.contract.wire import Wire, code_of

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_2_1_ping_is_text(wire: Wire) -> None:
    response = wire.get("/__ping")

    assert (response.status_code, response.text) == (200, "pong")
    assert response.headers["Content-Type"].startswith("text/plain")


def test_2_2_health_is_ok(wire: Wire) -> None:
    response = wire.get("/health")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_2_3_ready_is_true(wire: Wire) -> None:
    response = wire.get("/ready")

    assert (response.status_code, response.json()["ready"]) == (200, True)


def test_2_3_not_ready_is_503_and_names_the_part(wire: Wire) -> None:
    wire.start(MONGODB_URI="mongodb://127.0.0.1:1/", DB_SERVER_SELECTION_TIMEOUT_MS="200")

    response = wire.get("/ready")

    assert (response.status_code, response.json()["ready"]) == (503, False)
    assert "database" in response.json()["parts"]


def test_2_4_metrics_count_logins_by_event_key_and_release(wire: Wire) -> None:
    wire.start(COMMIT_SHA="abc123")
    person = Person(wire)
    person.register()
    assert person.log_in().status_code == 200

    response = wire.get("/metrics")

    assert response.headers["Content-Type"] == PROMETHEUS
    found = samples(response.text)
    events = {labels["event_type"]: labels for labels, _ in found["patchproof_svd_events_total"]}
    assert {"begin", "complete"} <= set(events)
    assert events["complete"]["sha"] == "abc123"
    assert events["complete"]["kid"] == wire.get("/api/svd/kid").json()["kid"]
    buckets = found["patchproof_svd_challenge_age_seconds_bucket"]
    assert {float(labels["le"]) for labels, _ in buckets} == {*AGE_BUCKETS, float("inf")}
    assert AGE_BUCKETS == (15, 30, 60, 120, 180, 300)


def test_2_4_every_event_of_the_contract_is_counted(wire: Wire) -> None:
    wire.start(DEPLOY_SHA="release-of-this-test", COMMIT_SHA="not-me")
    person = Person(wire)
    person.register()
    challenge = person.begin()
    person.complete(challenge, "3045022100")
    person.complete(challenge, person.raised_s(challenge))
    person.complete(challenge)
    person.complete(challenge)
    person.complete("0000000065000000" + "ab" * 16)

    events = samples(wire.get("/metrics").text)["patchproof_svd_events_total"]

    counted = {
        labels["event_type"]: value
        for labels, value in events
        if labels["sha"] == "release-of-this-test"
    }
    for event in ("begin", "complete", "replayed", "expired", "malleable_reject", "invalid"):
        assert counted[event] >= 1, event


def test_2_4_without_a_name_the_release_is_unknown(wire: Wire) -> None:
    wire.start(DEPLOY_SHA="", COMMIT_SHA="")
    Person(wire).begin()

    events = samples(wire.get("/metrics").text)["patchproof_svd_events_total"]

    assert "unknown" in {labels["sha"] for labels, _ in events}


def test_2_4_metrics_may_want_a_key(wire: Wire) -> None:
    wire.start(METRICS_REQUIRE_API_KEY="1")

    assert code_of(wire.get("/metrics")) == (401, "unauthorized")
    assert wire.get("/metrics", headers=wire.key).status_code == 200


def test_2_5_internal_metrics_count_codes(wire: Wire) -> None:
    def issued() -> float:
        response = wire.get("/internal/metrics", headers=wire.key)
        assert response.headers["Content-Type"] == PROMETHEUS
        assert 'pp_jwt_success{method="email"} ' in response.text
        (line,) = [
            each for each in response.text.splitlines() if each.startswith("pp_challenges_issued{")
        ]
        return float(line.rpartition(" ")[2])

    before = issued()
    body = {"identifier": "count@home.example"}
    assert wire.post("/v1/auth/request-verification", body).status_code == 200
    assert issued() == before + 1


def test_2_5_internal_metrics_can_be_switched_off(wire: Wire) -> None:
    wire.start(METRICS_ENABLED="0")

    response = wire.get("/internal/metrics", headers=wire.key)

    assert (response.status_code, response.text) == (200, "")


def test_2_6_docs_is_a_page(wire: Wire) -> None:
    response = wire.get("/docs/")

    assert (response.status_code, response.headers["Content-Type"]) == (
        200,
        "text/html; charset=utf-8",
    )


def test_2_6_docs_can_be_switched_off(wire: Wire) -> None:
    wire.start(ENABLE_SWAGGER_DOCS="false")

    for path in ("/docs", "/docs/", "/docs/md/contract.md"):
        assert wire.get(path).status_code == 404, path


def test_2_7_docs_redirects(wire: Wire) -> None:
    response = wire.get("/docs")

    assert (response.status_code, response.headers["Location"]) == (301, "/docs/")


def test_2_8_markdown_is_handed_out_as_it_is(wire: Wire) -> None:
    response = wire.get("/docs/md/contract.md")

    assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert response.content.decode().startswith("# The wire")
    assert code_of(wire.get("/docs/md/nothing.md")) == (404, "not_found")


def test_2_9_the_document_is_openapi_3_1(wire: Wire) -> None:
    document = wire.get("/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "https://proof.example"}]
