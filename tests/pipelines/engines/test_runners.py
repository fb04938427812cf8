"""Which values of --runner are taken, and why others are refused."""

import pytest

from mmfeat.errors import MmfeatError
from pipelines.engines.runners import CHOICES, find_runner


@pytest.mark.parametrize(
    ("typed", "runner"),
    [
        ("local", "FnApiRunner"),
        ("DirectRunner", "FnApiRunner"),
        ("Prism", "PrismRunner"),
        ("flink", "FlinkRunner"),
        ("SparkRunner", "SparkRunner"),
        ("dataflow", "DataflowRunner"),
        ("apache_beam.runners.portability.prism_runner.PrismRunner", "PrismRunner"),
    ],
)
def test_a_runner_may_be_named_as_people_and_as_beam_name_it(typed, runner):
    assert find_runner(typed) == runner


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DaskRunner", "--runner=DaskRunner cannot be used: it computes only the last transform"),
        ("interactive", "--runner=interactive cannot be used: it keeps the results"),
        ("Flik", "must be one of: local, Prism, .*got 'Flik'. Did you mean 'Flink'?"),
        ("NoSuchRunner", "must be one of: .*Other runners are not tested"),
        ("their.module.FlinkRunner", "must be one of: .*got 'their.module.FlinkRunner'"),
    ],
)
def test_other_runners_are_refused_with_the_reason(name, message):
    with pytest.raises(MmfeatError, match=message):
        find_runner(name)


def test_every_choice_is_a_runner():
    assert len({find_runner(name) for name in CHOICES}) == len(CHOICES)
