"""Comparisons, alignments and rankings survive power cuts, too."""

import os
from collections.abc import Iterator

import pytest

from tests.crash.power_cut import PowerCut
from tests.crash.recorder import Recorder, read_tree, write_tree
from tests.crash.workload import MORE_COMMANDS, comparable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("CRASH_POINTS" not in os.environ, reason="make crash runs it"),
]


@pytest.fixture(scope="module", params=MORE_COMMANDS)
def finished(request, undisturbed) -> Iterator[tuple[str, Recorder]]:
    """Runs a command from an empty folder. Returns its name and its calls."""
    workload = undisturbed.workload
    output = workload.output(request.param)
    if request.param == "ranking" and not workload.output("align").exists():
        workload.run("align")
    write_tree(output, {})
    recorder = Recorder(output)
    with recorder.watch():
        workload.run(request.param)
    return request.param, recorder


def test_a_manifest_vouches_for_the_output_of_a_command(undisturbed, finished, figures):
    name, recorder = finished
    expected = comparable(read_tree(undisturbed.workload.output(name)))
    for moment in range(len(recorder.operations) + 1):
        for survival, damage in ((0.0, "lost"), (0.5, "zeros"), (1.0, "torn")):
            tree = PowerCut(0, survival, moment, damage).apply_at(recorder, moment)
            if "manifest.json" in tree:
                assert expected.items() <= comparable(tree).items()
            figures[f"{name}: states inspected"] += 1
    assert comparable(tree) == expected


@pytest.mark.parametrize("moment", [0.5, 0.97])
def test_a_command_continues_after_a_power_cut(undisturbed, finished, figures, moment):
    name, recorder = finished
    output = undisturbed.workload.output(name)
    expected = comparable(read_tree(output))
    write_tree(output, PowerCut(moment, 0.5, 1, "zeros").apply(recorder))
    undisturbed.workload.run(name)
    assert comparable(read_tree(output)) == expected
    figures[f"{name}: power cuts"] += 1
