"""Stages survive power cuts and failing disks: the next run gives the result of an undisturbed run.

CRASH_POINTS is the number of power cuts and failing disks to try; `make crash` tries 500.
"""

import errno
import os
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from tests.crash.power_cut import PowerCut, assert_receipts_are_true, power_cuts
from tests.crash.recorder import Recorder, read_tree, write_tree
from tests.crash.workload import STAGES, comparable

POINTS = int(os.environ.get("CRASH_POINTS", "30"))

SHARES = {"shard": 0.3, "extract": 0.35, "train": 0.07, "score": 0.28}
"""Share of each stage. Training takes longest and changes the fewest files."""


def examples(stage, share=1.0):
    """Return the settings of a test that gets a share of the points of a stage."""
    return settings(
        max_examples=max(1, round(POINTS * SHARES[stage] * share)),
        deadline=None,
        database=None,
        derandomize="CRASH_POINTS" not in os.environ,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(params=STAGES)
def stage(request):
    return request.param


@pytest.fixture
def recorded(undisturbed, stage):
    """The calls of the undisturbed run of a stage, which began with an empty folder."""
    recorder = Recorder(undisturbed.workload.output(stage))
    recorder.before, recorder.operations = {}, undisturbed.operations[stage]
    yield recorder
    output = undisturbed.workload.output(stage)
    if (
        comparable(read_tree(output)) != undisturbed.trees[stage]
    ):  # a test of another stage needs it
        write_tree(output, {})
        undisturbed.workload.run(stage)


def test_the_rerun_after_power_cuts_equals_the_undisturbed_run(
    undisturbed, stage, recorded, figures
):
    workload, output = undisturbed.workload, undisturbed.workload.output(stage)

    @examples(stage, 0.7)
    @given(st.lists(power_cuts, min_size=1, max_size=2))
    def check(cuts):
        recorder = recorded
        for cut in cuts:
            write_tree(output, cut.apply(recorder))
            recorder = Recorder(output)
            with recorder.watch():
                workload.run(stage)
        assert comparable(read_tree(output)) == undisturbed.trees[stage]
        figures[f"{stage}: power cuts"] += len(cuts)

    check()


def test_the_run_after_a_failing_disk_equals_the_undisturbed_run(
    undisturbed, stage, recorded, figures
):
    workload, output = undisturbed.workload, undisturbed.workload.output(stage)

    @examples(stage, 0.3)
    @given(st.integers(2, 80), st.sampled_from([errno.EIO, errno.ENOSPC]))
    def check(fail_every, error):
        write_tree(output, {})
        recorder = Recorder(output, fail_every, error)
        with recorder.watch(), suppress(MmfeatError, OSError):
            workload.run(stage)
        workload.run(stage)
        assert comparable(read_tree(output)) == undisturbed.trees[stage]
        figures[f"{stage}: failing disks"] += 1
        figures[f"{stage}: failed calls"] += recorder.failed_calls

    check()


def test_receipts_and_manifests_vouch_for_whole_files(undisturbed, stage, recorded, figures):
    """In any state that a power cut leaves, without a rerun."""
    finished = undisturbed.trees[stage]
    for moment in range(len(recorded.operations) + 1):
        for survival, damage in ((0.0, "lost"), (0.3, "zeros"), (0.7, "zeros"), (1.0, "torn")):
            tree = PowerCut(0, survival, moment, damage).apply_at(recorded, moment)
            assert_receipts_are_true(tree)
            if "manifest.json" in tree:
                assert finished.items() <= comparable(tree).items()
            figures[f"{stage}: states inspected"] += 1


def test_a_finished_run_is_on_disk(undisturbed, stage, recorded, figures):
    tree = PowerCut(1, 0.0, 0, "lost").apply(recorded)
    assert comparable(tree) == undisturbed.trees[stage]
    figures[f"{stage}: states inspected"] += 1
