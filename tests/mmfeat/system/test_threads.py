import threading
import time

import pytest

from mmfeat.system.threads import ordered_map


def test_results_keep_the_order_of_the_items():
    def slow_when_even(number):
        time.sleep(0.01 if number % 2 == 0 else 0)
        return number * 10

    assert list(ordered_map(slow_when_even, range(20), threads=4)) == list(range(0, 200, 10))


def test_reading_runs_ahead_of_the_consumer_by_a_bounded_number():
    started, lock = [], threading.Lock()

    def note(number):
        with lock:
            started.append(number)
        return number

    results = ordered_map(note, iter(range(1000)), threads=2)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 8
    results.close()


def test_an_error_comes_where_its_result_would_have_come():
    results = ordered_map(lambda n: 1 // n, [1, 0, 1], threads=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
