"""Stages survive power cuts and failing disks: the next run gives the result of an undisturbed run.

CRASH_POINTS is the number of power cuts and failing disks to try; `make crash` tries 600.
"""

import errno
import hashlib
import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from tests.crash.disk import Tree, tree_after_crash
from tests.crash.recorder import Recorder, read_tree, write_tree
from tests.crash.workload import STAGES, comparable

POINTS = int(os.environ.get("CRASH_POINTS", "30"))

SHARES = {"shard": 0.3, "extract": 0.35, "train": 0.07, "score": 0.28}
"""Share of each stage. Training takes longest and changes the fewest files."""

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "lost": lambda content: b"",
    "torn": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
}
"""What may be left of a file that was not synced."""


@dataclass(frozen=True)
class PowerCut:
    """A power cut.

    Attributes:
        moment: between 0, before the first call, and 1, after the last.
        survival: which changes that were not synced are on disk: a share from 0 to 1.
        seed: chooses them.
        damage: what is left of files that were not synced.
    """

    moment: float
    survival: float
    seed: int
    damage: str

    def apply(self, recorder: Recorder) -> Tree:
        """Return what it leaves of the recorded run."""
        moment = round(self.moment * len(recorder.operations))
        return self.apply_at(recorder, moment)

    def apply_at(self, recorder: Recorder, moment: int) -> Tree:
        """Return what it leaves of the first calls of the recorded run."""
        numbers = range(moment)
        rng = random.Random(self.seed)
        surviving = {number for number in numbers if rng.random() < self.survival}
        return tree_after_crash(
            recorder.before,
            recorder.operations[:moment],
            surviving.__contains__,
            DAMAGES[self.damage],
        )


power_cuts = st.builds(
    PowerCut,
    moment=st.floats(0, 1),
    survival=st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]),
    seed=st.integers(0, 999),
    damage=st.sampled_from(sorted(DAMAGES)),
)


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


def assert_receipts_are_true(tree):
    """Assert that the files of each receipt have the digests in it."""
    for path, content in tree.items():
        if path.endswith("_stats.json") and content:
            for name, info in json.loads(content)["files"].items():
                assert hashlib.sha256(tree[name]).hexdigest() == info["sha256"], (path, name)
