import threading
import time

import pytest

from mmfeat.system.threads import MAX_BATCH_BYTES, ordered_map


def test_results_keep_the_order_of_the_items():
    def slow_when_even(number):
        time.sleep(0.01 if number % 2 == 0 else 0)
        return number * 10

    assert list(ordered_map(slow_when_even, range(20), threads=4)) == list(range(0, 200, 10))
    batches = ordered_map(slow_when_even, range(20), threads=4, batch=3)
    assert list(batches) == list(range(0, 200, 10))


def test_batches_of_large_results_are_cut_and_completed():
    results = ordered_map(str, range(10), threads=2, batch=4, weight=lambda _: MAX_BATCH_BYTES)
    assert list(results) == list(map(str, range(10)))


def test_read_ahead_is_bounded():
    started, lock = [], threading.Lock()

    def record(number):
        with lock:
            started.append(number)
        return number

    results = ordered_map(record, iter(range(1000)), threads=2)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 8
    results.close()


def test_an_error_is_raised_in_place_of_its_result():
    results = ordered_map(lambda n: 1 // n, [1, 0, 1], threads=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
