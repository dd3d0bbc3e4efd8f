"""Limits through the application: who is counted, what they are told, and what is never counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from werkzeug.test import TestResponse

from tests.integration.limits.conftest import Start
from tests.integration.limits.probes import RIGHT_CODE, Probes

USER = "507f1f77bcf86cd799439011"


def statuses(answers: Sequence[TestResponse]) -> list[int]:
    return [each.status_code for each in answers]


def remaining(answers: Sequence[TestResponse]) -> list[int]:
    return [int(each.headers["RateLimit-Remaining"]) for each in answers]


def in_parallel(times: int, ask: Callable[[], TestResponse]) -> list[TestResponse]:
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda _: ask(), range(times)))


def begin(probes: Probes, user: str = USER, **options: str) -> TestResponse:
    return probes.post("/probe/begin", {"userId": user}, **options)


def test_a_limited_answer_tells_where_its_caller_stands(start: Start) -> None:
    answer = start(READING_MAX="10", READING_WINDOW_MS="30000").get("/probe/read")

    assert answer.status_code == 200
    assert answer.headers["RateLimit-Policy"] == "10;w=30"
    assert answer.headers["RateLimit-Limit"] == "10"
    assert answer.headers["RateLimit-Remaining"] == "9"
    assert 0 < int(answer.headers["RateLimit-Reset"]) <= 30
    assert "Retry-After" not in answer.headers


def test_who_asks_too_often_is_told_when_to_come_again(start: Start) -> None:
    probes = start(READING_MAX="3")

    answers = [probes.get("/probe/read") for _ in range(5)]

    assert statuses(answers) == [200, 200, 200, 429, 429]
    assert remaining(answers) == [2, 1, 0, 0, 0]
    refused = answers[-1]
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]
    assert refused.headers["RateLimit-Policy"] == "3;w=60"
    assert refused.json is not None
    assert refused.json["code"] == refused.json["error"]["code"] == "rate_limited"
    assert refused.json["error"]["status"] == 429
    assert "try again in" in refused.json["error"]["message"]
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    assert refused.headers["X-Request-Id"]


def test_the_headers_are_for_pages_of_other_origins_too(start: Start) -> None:
    answer = start().get("/probe/read", Origin="http://localhost:5173")

    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    names = {name for name, _ in answer.headers if name.startswith("RateLimit-")}
    assert names | {"Retry-After", "X-Request-Id", "Location"} <= set(exposed)


def test_parallel_requests_never_exceed_the_maximum(start: Start) -> None:
    probes = start(READING_MAX="20")

    answers = in_parallel(80, lambda: probes.get("/probe/read"))

    assert sorted(statuses(answers)) == [200] * 20 + [429] * 60
    assert sorted(remaining([a for a in answers if a.status_code == 200])) == list(range(20))


def test_addresses_are_counted_apart(start: Start) -> None:
    probes = start(READING_MAX="1")

    assert [
        probes.get("/probe/read", address=address).status_code
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "::ffff:192.0.2.2", "")
    ] == [200, 200, 429, 429, 200]


def test_an_ipv6_address_counts_for_its_network(start: Start) -> None:
    probes = start(READING_MAX="1")

    assert [
        probes.get("/probe/read", address=address).status_code
        for address in (
            "2001:db8:1:2::1",
            "2001:db8:1:2:ffff::9",
            "2001:db8:1:3::1",
            "fe80::1%eth0",
        )
    ] == [200, 429, 200, 200]


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_a_forged_address_changes_nothing(start: Start, proxies: str) -> None:
    """What a client writes stands left of what the trusted proxy adds."""
    probes = start(READING_MAX="1", TRUSTED_PROXIES=proxies)

    first = probes.get("/probe/read", **{"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
    again = probes.get("/probe/read", **{"X-Forwarded-For": "198.51.100.2, 203.0.113.9"})

    assert statuses([first, again]) == [200, 429]


def test_the_trusted_proxy_tells_clients_apart(start: Start) -> None:
    probes = start(READING_MAX="1", TRUSTED_PROXIES="1")

    for client, status in (("203.0.113.9", 200), ("203.0.113.10", 200), ("203.0.113.9", 429)):
        answer = probes.get("/probe/read", **{"X-Forwarded-For": client})
        assert answer.status_code == status


def test_a_preflight_and_an_unknown_path_are_not_counted(start: Start) -> None:
    probes = start(READING_MAX="1")

    for _ in range(3):
        assert "RateLimit-Limit" not in probes.get("/probe/nothing").headers
        assert probes.app.test_client().options("/probe/read").status_code == 200

    assert probes.get("/probe/read").status_code == 200


def test_no_address_user_or_email_stands_in_redis(start: Start, connection: redis.Redis) -> None:
    probes = start()
    probes.submit(identifier="somebody@shop.example")
    begin(probes)
    probes.write()

    keys = " ".join(connection.scan_iter("*"))

    assert keys.count("rl:") == 7
    for secret in ("somebody", "shop.example", "192.0.2.1", USER, probes.key):
        assert secret not in keys
    for name in ("/public/", "/svd-begin/", "/auth-submit/", "/writing/"):
        assert name in keys


def test_every_limit_is_one_round_trip(start: Start, round_trips: list[str]) -> None:
    probes = start()
    # Redis knows the scripts from here on.
    probes.submit(RIGHT_CODE)
    round_trips.clear()
    begin(probes)
    assert len(round_trips) == 2
    round_trips.clear()
    probes.get("/probe/read")
    assert len(round_trips) == 1
    round_trips.clear()
    # Its three limits, and one for all the places that are given back.
    assert probes.submit(RIGHT_CODE).status_code == 200
    assert len(round_trips) == 4


# Login


def test_s7_a_stranger_can_not_use_up_the_places_of_a_user(start: Start) -> None:
    probes = start(SVD_BEGIN_MAX="5")
    strangers = [f"198.51.100.{number}" for number in range(30)]

    for address in strangers:
        answers = [begin(probes, address=address) for _ in range(6)]
        assert statuses(answers) == [200] * 5 + [429]

    assert statuses([begin(probes) for _ in range(5)]) == [200] * 5


def test_s7_one_address_is_limited_whatever_users_it_names(start: Start) -> None:
    probes = start(PUBLIC_API_MAX="10", SVD_BEGIN_MAX="5")

    answers = [begin(probes, f"{number:024x}") for number in range(12)]

    assert statuses(answers) == [200] * 10 + [429] * 2


@pytest.mark.parametrize("spelling", [USER.upper(), f" {USER} "])
def test_a_user_spelt_otherwise_is_the_same_user(start: Start, spelling: str) -> None:
    probes = start(SVD_BEGIN_MAX="1")

    assert statuses([begin(probes), begin(probes, spelling)]) == [200, 429]


def test_the_nearest_wall_is_shown(start: Start) -> None:
    probes = start(PUBLIC_API_MAX="60", SVD_BEGIN_MAX="20")

    assert begin(probes).headers["RateLimit-Policy"] == "20;w=60"


def test_what_one_limit_refuses_uses_up_nothing_of_the_other(start: Start) -> None:
    probes = start(PUBLIC_API_MAX="2", SVD_BEGIN_MAX="20")
    for _ in range(10):
        begin(probes)

    assert remaining([begin(probes, address="192.0.2.77")]) == [1]
    # Only the two that the address had places for counted for the user.
    probes = start(PUBLIC_API_MAX="60", SVD_BEGIN_MAX="20")
    assert remaining([begin(probes)]) == [17]


def test_a_limit_beside_one_that_refuses_keeps_its_place(start: Start) -> None:
    probes = start(READING_MAX="10", CERTIFICATE_PDF_MAX="1")

    answers = [probes.get("/probe/pdf") for _ in range(6)]

    assert statuses(answers) == [200] + [429] * 5
    assert answers[-1].headers["RateLimit-Policy"] == "1;w=60"
    # One for the page that was made, one for this.
    assert remaining([probes.get("/probe/read")]) == [8]


def test_a_guess_that_is_refused_for_its_mailbox_counts_for_no_address(start: Start) -> None:
    probes = start(AUTH_SUBMIT_IDENTIFIER_MAX="1", AUTH_SUBMIT_MAX="3")
    probes.submit(address="198.51.100.1")
    assert statuses([probes.submit() for _ in range(9)]) == [429] * 9

    probes = start(AUTH_SUBMIT_IDENTIFIER_MAX="20", AUTH_SUBMIT_MAX="3")

    assert statuses([probes.submit() for _ in range(4)]) == [401] * 3 + [429]


def test_f25_a_read_of_the_login_counts_once_and_with_the_others(start: Start) -> None:
    probes = start(PUBLIC_API_MAX="60")

    answers = [probes.get("/probe/kid") for _ in range(59)]
    assert statuses(answers) == [200] * 59
    assert statuses([begin(probes), probes.get("/probe/kid")]) == [200, 429]


def test_s8_a_user_id_beside_the_identifier_changes_nothing(start: Start) -> None:
    probes = start()

    requests = [
        probes.post("/probe/request", {"identifier": "a@b.example", "userId": f"{number:024x}"})
        for number in range(3)
    ]
    submits = [probes.submit(more={"userId": f"{number:024x}"}) for number in range(8)]

    assert statuses(requests) == [200, 429, 429]
    assert statuses(submits) == [401] * 5 + [429] * 3


def test_s8_an_identifier_in_other_letters_or_from_elsewhere_is_the_same(start: Start) -> None:
    probes = start()

    answers = [
        probes.post("/probe/request", {"identifier": spelling}, address=f"198.51.100.{number}")
        for number, spelling in enumerate(("a@b.example", "A@B.Example", " a@b.example\t"))
    ]

    assert statuses(answers) == [200, 429, 429]


def test_s8_guessing_from_many_addresses_ends_too(start: Start) -> None:
    probes = start(AUTH_SUBMIT_IDENTIFIER_MAX="20")

    answers = [probes.submit(address=f"198.51.100.{number}") for number in range(30)]

    assert statuses(answers) == [401] * 20 + [429] * 10


def test_s9_wrong_guesses_of_one_stranger_do_not_keep_the_owner_out(start: Start) -> None:
    probes = start()
    for _ in range(50):
        probes.submit(address="198.51.100.1")

    assert probes.submit(RIGHT_CODE).status_code == 200


def test_s8_one_address_can_not_mail_everybody(start: Start) -> None:
    probes = start(AUTH_ADDRESS_MAX="10")

    answers = [
        probes.post("/probe/request", {"identifier": f"{number}@b.example"}) for number in range(12)
    ]

    assert statuses(answers) == [200] * 10 + [429] * 2


def test_f24_success_is_not_counted(start: Start) -> None:
    probes = start()

    answers = [probes.submit(RIGHT_CODE) for _ in range(12)]

    assert statuses(answers) == [200] * 12
    assert remaining(answers) == [5] * 12


def test_f24_failures_are(start: Start) -> None:
    probes = start()

    answers = [probes.submit() for _ in range(6)]

    assert statuses(answers) == [401] * 5 + [429]
    assert remaining(answers) == [4, 3, 2, 1, 0, 0]
    assert answers[0].headers["RateLimit-Policy"] == "5;w=600"
    # A right code waits as well: what could be tried once more could be guessed.
    assert probes.submit(RIGHT_CODE).status_code == 429


def test_f24_parallel_guesses_are_no_more_than_the_maximum(start: Start) -> None:
    probes = start(AUTH_ADDRESS_MAX="1000")

    answers = in_parallel(60, probes.submit)

    assert sorted(statuses(answers)) == [401] * 5 + [429] * 55


def test_f24_a_request_that_is_refused_at_the_door_is_no_failed_guess(start: Start) -> None:
    probes = start()

    for _ in range(10):
        assert probes.post("/probe/submit", {"identifier": "a"}).status_code == 400

    assert statuses([probes.submit() for _ in range(6)]) == [401] * 5 + [429]


# API keys


def test_a_flood_of_wrong_keys_ends_before_authentication(
    start: Start, round_trips: list[str]
) -> None:
    probes = start(REFUSED_KEY_MAX="10")
    answers = [probes.write(f"guess-{number}") for number in range(10)]
    assert statuses(answers) == [401] * 10
    round_trips.clear()

    refused = probes.write("guess-10")

    assert refused.status_code == 429
    assert refused.headers["RateLimit-Policy"] == "10;w=60"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    # One look, and one for a mark that this key has been good before.
    assert len(round_trips) == 2


def test_right_keys_are_no_guesses(start: Start) -> None:
    probes = start(REFUSED_KEY_MAX="3")

    answers = [probes.write() for _ in range(10)]

    assert statuses(answers) == [200] * 10
    assert answers[0].headers["RateLimit-Policy"] == "6000;w=60"


def test_a_flood_of_wrong_keys_does_not_use_up_a_client_s_places(start: Start) -> None:
    """Not from elsewhere, and not from the same address once the key has been good."""
    probes = start(REFUSED_KEY_MAX="5", WRITING_MAX="100")
    assert remaining([probes.write()]) == [99]

    for number in range(50):
        probes.write(f"guess-{number}")

    assert probes.write("guess").status_code == 429
    assert remaining([probes.write()]) == [98]
    assert remaining([probes.write(address="192.0.2.99")]) == [97]


def test_a_good_key_is_remembered_by_every_worker(start: Start) -> None:
    start(REFUSED_KEY_MAX="5").write()
    another = start(REFUSED_KEY_MAX="5")
    for number in range(6):
        another.write(f"guess-{number}")

    assert another.write().status_code == 200


def test_a_key_is_marked_once_and_its_mark_renewed_with_every_use(
    start: Start, connection: redis.Redis, round_trips: list[str]
) -> None:
    probes = start()
    probes.write()
    (mark,) = connection.scan_iter("rl:good-key:*")
    connection.expire(mark, 100)
    round_trips.clear()

    probes.write()

    # The mark and the place.
    assert len(round_trips) == 2
    assert connection.ttl(mark) > 80_000


def test_a_key_that_is_good_no_more_is_a_guess_from_its_first_refusal(
    start: Start, connection: redis.Redis
) -> None:
    former = start()
    former.write()
    probes = start(REFUSED_KEY_MAX="3", API_KEY="x" * 40)

    answers = [probes.write(former.key) for _ in range(6)]

    assert statuses(answers) == [401] * 4 + [429] * 2
    assert not list(connection.scan_iter("rl:good-key:*"))


def test_a_client_is_limited_by_its_key_wherever_it_is(start: Start) -> None:
    probes = start(WRITING_MAX="3")

    answers = [probes.write(address=f"192.0.2.{number}") for number in range(5)]

    assert statuses(answers) == [200] * 3 + [429] * 2


def test_bad_input_counts_at_the_door_only(start: Start) -> None:
    probes = start()
    nonsense = (b"{", b"\xff", json.dumps({"userId": ["x"]}).encode(), b'{"userId": "\\ud800"}')

    for number, raw in enumerate(nonsense):
        answer = probes.app.test_client().post(
            "/probe/begin", data=raw, content_type="application/json"
        )
        assert answer.status_code == 400
        assert answer.headers["RateLimit-Remaining"] == str(60 - number - 1)


def test_odd_names_are_counted_like_any_other(start: Start) -> None:
    probes = start(SVD_BEGIN_MAX="1")

    for user in ("\x00", "x" * 10_000, "\u017f", "\u200b"):
        assert statuses([begin(probes, user), begin(probes, user)]) == [200, 429]
