"""Faults and the weather that they make."""

import random

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response

from devnet.chain.faults import ConnectionCutError, Fault, Faults, InvalidFaultError
from devnet.chain.weather import Weather


def faults_of(*described, seed=1):
    faults = Faults(random.Random(seed))
    faults.add([Fault.from_json(each) for each in described])
    return faults


def test_first_matching_fault_strikes_and_counts_down():
    faults = faults_of(
        {"kind": "status", "path": "/tx", "times": 1, "status": 500},
        {"kind": "status", "status": 503},
    )
    statuses = [faults.take(("status",), "GET", path).status for path in ("/a", "/tx", "/tx")]
    assert statuses == [503, 500, 503]


def test_other_kinds_and_methods_are_left_alone():
    faults = faults_of({"kind": "status", "method": "post"})
    assert faults.take(("delay",), "POST", "/") is None
    assert faults.take(("status",), "GET", "/") is None
    assert faults.take(("status",), "POST", "/") is not None


def test_probability_is_kept_and_misses_do_not_count():
    faults = faults_of({"kind": "status", "probability": 0.3, "times": 1000})
    hits = sum(faults.take(("status",), "GET", "/") is not None for _ in range(2000))
    assert 500 < hits < 700
    (left,) = faults.to_json()
    assert (left["hits"], left["times"]) == (hits, 1000 - hits)


@pytest.mark.parametrize("value", [True, "5", 1.5, -1, [], {}])
def test_times_is_a_whole_number(value):
    with pytest.raises(InvalidFaultError, match="times"):
        Fault.from_json({"kind": "status", "times": value})


class Counting:
    """An application that counts what reaches it."""

    def __init__(self):
        self.count = 0

    def __call__(self, environ, start_response):
        self.count += 1
        return Response("sun")(environ, start_response)


def test_cut_before_never_reaches_the_application_and_cut_after_does():
    for kind, reached in (("cut_before", 0), ("cut_after", 1)):
        application = Counting()
        client = Client(Weather(application, faults_of({"kind": kind, "times": 1})))
        with pytest.raises(ConnectionCutError):
            client.get("/x")
        assert application.count == reached
        assert client.get("/x").text == "sun"


def test_refusal_carries_its_reason_and_retry_after():
    weather = Weather(Counting(), faults_of({"kind": "status", "status": 429, "retry_after": 7}))
    response = Client(weather).get("/x")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
    assert response.text == "TOO MANY REQUESTS"
