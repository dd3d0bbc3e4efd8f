"""What a process measures is handed over once, and nothing of it is lost on the way."""

from __future__ import annotations

import subprocess
import sys
import threading

from app import measures
from app.measures import Count, Durations, Moment

EVENTS = Count("test_events_total", "Events.", ("kind",))
SECONDS = Durations("test_seconds", "Seconds.", (0.1, 1.0), ("kind",))
SEEN = Moment("test_seen_timestamp_seconds", "When.")


def mine() -> dict[measures.Series, float]:
    """What these tests have measured: others in this process measure as well."""
    taken = measures.take()
    return {
        series: amount for series, amount in taken.amounts.items() if series[0].startswith("test_")
    }


def test_counts_add_up_and_are_handed_over_once() -> None:
    mine()
    EVENTS.add("a")
    EVENTS.add("a", amount=2)
    EVENTS.add("b")

    assert mine() == {("test_events_total", "", "a"): 3, ("test_events_total", "", "b"): 1}
    assert mine() == {}


def test_durations_fall_into_the_bucket_that_takes_them() -> None:
    mine()
    for seconds in (0.1, 0.5, 7.0):
        SECONDS.observe(seconds, "a")

    assert mine() == {
        ("test_seconds", "0", "a"): 1,
        ("test_seconds", "1", "a"): 1,
        ("test_seconds", "2", "a"): 1,
        ("test_seconds", "sum", "a"): 7.6,
    }


def test_what_could_not_be_carried_is_there_again() -> None:
    mine()
    EVENTS.add("a")
    SEEN.mark()
    taken = measures.take()
    EVENTS.add("a")
    measures.give_back(taken)

    again = measures.take()
    assert again.amounts["test_events_total", "", "a"] == 2
    assert again.moments["test_seen_timestamp_seconds", ""] > 0


def test_no_addition_is_lost_between_threads() -> None:
    mine()

    def add() -> None:
        for _ in range(1000):
            EVENTS.add("a")

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mine() == {("test_events_total", "", "a"): 8000}


FORKING = """
import os
from app import measures
events = measures.Count("test_events_total", "Events.")
events.add()
child = os.fork()
if child:
    os.waitpid(child, 0)
print(list(measures.take().amounts.values()), flush=True)
"""


def test_a_fork_counts_for_itself() -> None:
    # In a process of its own, which has no other threads.
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60, check=True
    )
    # The child's, then the parent's.
    assert done.stdout.splitlines() == ["[]", "[1.0]"]
