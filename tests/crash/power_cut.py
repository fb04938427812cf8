"""Power cuts at any moment of a recorded run, and what may be asserted right after one."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.crash.disk import Tree, tree_after_crash
from tests.crash.recorder import Recorder

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


def assert_receipts_are_true(tree):
    """Assert that the files of each receipt have the digests in it."""
    for path, content in tree.items():
        if path.endswith("_stats.json") and content:
            for name, info in json.loads(content)["files"].items():
                assert hashlib.sha256(tree[name]).hexdigest() == info["sha256"], (path, name)
