"""The search for the records that kill their worker, without processes."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from mmfeat.store import ShardTask
from mmfeat.system import WorkerDiedError
from pipelines.isolation import MAX_DEATHS, IsolationError, make_isolated
from pipelines.worker import MadeShard, try_records


class FakePool:
    """Runs tasks in no process. `dies` decides by the rows of a task whether its worker dies."""

    def __init__(self, records: int, dies: Callable[[set[int]], bool]) -> None:
        self.records, self.dies, self.deaths = records, dies, 0

    def submit(self, function: Callable[..., Any], task: ShardTask, *rows: range) -> Future[Any]:
        worked = set(*rows) if function is try_records else {*range(self.records)}
        future: Future[Any] = Future()
        if self.dies(worked - task.deadly.keys()):
            self.deaths += 1
            future.set_exception(WorkerDiedError("a worker process was killed"))
        else:
            future.set_result(None if function is try_records else MadeShard(True, 1.0, {}))
        return future


def isolate(pool: FakePool) -> set[int]:
    shard, task = make_isolated(pool, ShardTask("00000", pool.records))  # type: ignore[arg-type]
    assert shard.made
    return {*task.deadly}


@pytest.mark.parametrize("records", [1, 2, 9, 100, 1000])
@pytest.mark.parametrize("deadly", [{0}, {-1}, {0, 1}, {0, -1, 7}, set()])
def test_exactly_the_deadly_records_are_found(records, deadly):
    deadly = {row % records for row in deadly}
    pool = FakePool(records, lambda rows: bool(rows & deadly))
    assert isolate(pool) == deadly


def test_one_record_of_a_thousand_is_found_after_few_deaths():
    pool = FakePool(1000, lambda rows: 777 in rows)
    assert isolate(pool) == {777}
    assert pool.deaths <= 8


def test_deaths_that_pass_reject_nothing():
    for number in range(12):
        deaths = iter(range(number))
        pool = FakePool(50, lambda rows, deaths=deaths: next(deaths, None) is not None)
        try:
            assert isolate(pool) == set()
        except IsolationError:
            assert number > 2


def test_a_record_must_die_twice_alone():
    tries = []

    def dies(rows):
        tries.append(rows)
        return len(rows) > 1 or (rows == {3} and tries.count({3}) == 1)

    pool = FakePool(8, lambda rows: len(rows) == 8 or (rows == {3} and dies(rows)))
    with pytest.raises(IsolationError, match="no record of the shard kills it alone"):
        isolate(pool)


def test_a_shard_that_cannot_be_opened_fails_at_once():
    pool = FakePool(1000, lambda rows: True)
    with pytest.raises(IsolationError, match="when it opens the shard"):
        isolate(pool)
    assert pool.deaths == 4


def test_deaths_are_bounded():
    pool = FakePool(1000, lambda rows: bool(rows))
    with pytest.raises(IsolationError, match=f"{MAX_DEATHS} times in one shard"):
        isolate(pool)
    assert pool.deaths <= MAX_DEATHS + 5
