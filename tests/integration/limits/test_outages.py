"""Redis stopped, hung and back: logins are closed, all else goes on, and nobody waits for long."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from werkzeug.test import TestResponse

from tests.integration.limits.conftest import MortalRedis, Start
from tests.integration.limits.probes import Probes
from tests.integration.limits.test_limits import begin, in_parallel, statuses
from tests.integration.limits.test_windows import wait_until

# A Redis that is only slow, on a busy machine, must not be taken for one that hangs.
PATIENCE = {"REDIS_TIMEOUT_MS": "1000"}
CLOSED: list[Callable[[Probes], TestResponse]] = [
    begin,
    lambda probes: probes.submit(),
    lambda probes: probes.post("/probe/request", {"identifier": "a@b.example"}),
]
OPEN: list[Callable[[Probes], TestResponse]] = [
    lambda probes: probes.get("/probe/read"),
    lambda probes: probes.get("/probe/kid"),
    lambda probes: probes.write(),
]


def is_counted(answer: TestResponse) -> bool:
    return answer.status_code != 503 and "RateLimit-Limit" in answer.headers


def check_without_redis(probes: Probes) -> None:
    for ask in CLOSED:
        answer = ask(probes)
        assert answer.status_code == 503
        assert answer.json is not None
        assert answer.json["code"] == "service_unavailable"
        assert int(answer.headers["Retry-After"]) > 0
        assert "RateLimit-Limit" not in answer.headers
    for ask in OPEN:
        answer = ask(probes)
        assert answer.status_code == 200
        assert "RateLimit-Limit" not in answer.headers


def wait_until_counted(probes: Probes) -> None:
    for ask in (*CLOSED, *OPEN):
        wait_until(lambda ask=ask: is_counted(ask(probes)))


def test_o1_a_redis_that_is_stopped_and_started_is_used_again(
    start: Start, mortal: MortalRedis, warnings: list[str]
) -> None:
    probes = start(REDIS_URL=mortal.url, **PATIENCE)
    # Several connections, which all break.
    in_parallel(8, lambda: begin(probes))

    mortal.stop()
    check_without_redis(probes)
    mortal.start()

    wait_until_counted(probes)
    assert warnings == [
        "rate limits keep logins closed and let everything else pass, Redis is away"
    ]


def test_o1_a_hung_redis_hangs_no_request(
    start: Start, mortal: MortalRedis, warnings: list[str]
) -> None:
    probes = start(REDIS_URL=mortal.url, **PATIENCE)
    in_parallel(8, lambda: begin(probes))

    mortal.hang()
    check_without_redis(probes)
    assert statuses(in_parallel(50, lambda: probes.get("/probe/read"))) == [200] * 50
    assert statuses(in_parallel(50, lambda: begin(probes))) == [503] * 50
    mortal.go_on()

    wait_until_counted(probes)
    assert len(warnings) == 1


def test_o1_the_application_starts_without_redis(start: Start, mortal: MortalRedis) -> None:
    mortal.stop()
    probes = start(REDIS_URL=mortal.url, **PATIENCE)

    check_without_redis(probes)
    mortal.start()

    wait_until_counted(probes)


def test_o1_an_outage_in_the_middle_of_a_login_leaves_an_answer(
    start: Start, mortal: MortalRedis
) -> None:
    """The place can't be given back then; it ends with its window."""
    probes = start(REDIS_URL=mortal.url, **PATIENCE)
    seen: list[int] = []

    def stop_redis(response: TestResponse) -> TestResponse:
        mortal.stop()
        seen.append(response.status_code)
        return response

    # After the view, before the limits' own end: hooks are called from the last to the first.
    probes.app.after_request(stop_redis)

    assert probes.submit("123456").status_code == 200
    assert seen == [200]


def test_o5_the_password_may_stand_in_the_address_or_beside_it(
    start: Start, mortal: MortalRedis
) -> None:
    address = urlsplit(mortal.url)
    assert address.password
    bare = address._replace(netloc=f"{address.hostname}:{address.port}").geturl()
    beside = {"REDIS_PASSWORD": address.password}
    right = ({"REDIS_URL": mortal.url}, {"REDIS_URL": bare, **beside})

    for settings in (*right, {**right[1], "REDIS_URL": mortal.url}):
        assert is_counted(begin(start(**settings))), settings
    assert statuses([begin(start(REDIS_URL=bare))]) == [503]
