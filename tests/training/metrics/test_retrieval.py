"""Ranks and recalls of retrieval."""

import numpy as np
import pytest

from training.metrics.retrieval import rank_both_directions


def test_ranks_share_ties() -> None:
    a = np.eye(3, dtype=np.float32)
    b = a[[0, 0, 2]]
    a_to_b, b_to_a = rank_both_directions(a, b)
    assert a_to_b.above.tolist() == [0, 0, 0]
    assert a_to_b.tied.tolist() == [1, 2, 0]
    assert a_to_b.recall(1) == pytest.approx((1 / 2 + 1 / 3 + 1) / 3)
    assert b_to_a.recall(1) == pytest.approx(2 / 3)
    same = np.ones((4, 1), np.float32)
    assert rank_both_directions(same, same)[0].recall(1) == 0.25


def test_ranks_do_not_depend_on_blocks() -> None:
    rng = np.random.default_rng(0)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 50, 4)))
    whole = rank_both_directions(a, b)
    for ranks, blocked_ranks in zip(whole, rank_both_directions(a, b, block=7), strict=True):
        assert np.array_equal(ranks.above, blocked_ranks.above)
    own = np.diag(a @ b.T)
    assert np.array_equal(whole[0].above, (a @ b.T > own[:, None]).sum(axis=1))
