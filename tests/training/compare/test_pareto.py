import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.compare.statistics.pareto import (
    Candidate,
    pareto_front,
    pick_best,
    pick_cheapest_tied,
)

CANDIDATES = st.lists(
    st.builds(Candidate, st.just("x"), st.integers(0, 5), st.integers(0, 5), st.booleans()),
    min_size=1,
    max_size=12,
)
A = Candidate("a", 0.9, 100, tied=True)
B = Candidate("b", 0.89, 10, tied=True)
C = Candidate("c", 0.8, 20)
D = Candidate("d", 0.7, 1)


def dominates(a: Candidate, b: Candidate) -> bool:
    no_worse = a.quality >= b.quality and a.cost <= b.cost
    return no_worse and (a.quality > b.quality or a.cost < b.cost)


def test_four_candidates_by_hand():
    assert pareto_front([A, B, C, D]) == [D, B, A]
    assert pick_best([C, B, A, D]) is A
    assert pick_cheapest_tied([A, B, C, D]) is B
    assert pick_cheapest_tied([C, D]) is C  # The best counts as tied with itself.


def test_equal_quality_prefers_the_cheapest_then_the_first():
    cheap, expensive, other = (Candidate(n, 0.5, c) for n, c in (("c", 1), ("e", 2), ("o", 1)))
    assert pick_best([expensive, cheap, other]) is cheap
    assert pareto_front([expensive, cheap, other]) == [cheap, other]


@given(CANDIDATES)
def test_front_has_the_candidates_that_are_not_dominated(candidates):
    front = pareto_front(candidates)
    expected = [c for c in candidates if not any(dominates(other, c) for other in candidates)]
    assert sorted(map(repr, front)) == sorted(map(repr, expected))
    assert [c.cost for c in front] == sorted(c.cost for c in front)
    assert pick_best(candidates) in front
    assert pick_cheapest_tied(candidates).cost <= pick_best(candidates).cost


def test_nan_and_empty_input_are_refused():
    with pytest.raises(ValueError, match="must be numbers"):
        Candidate("a", float("nan"), 1)
    with pytest.raises(ValueError, match="at least one candidate"):
        pick_best([])
