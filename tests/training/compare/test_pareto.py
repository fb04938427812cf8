import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.compare.pareto import Candidate, best, cheapest_tied, dominates, pareto_front

CANDIDATES = st.lists(
    st.builds(Candidate, st.just("x"), st.integers(0, 5), st.integers(0, 5), st.booleans()),
    min_size=1,
    max_size=12,
)
A = Candidate("a", 0.9, 100, tied=True)
B = Candidate("b", 0.89, 10, tied=True)
C = Candidate("c", 0.8, 20)
D = Candidate("d", 0.7, 1)


def test_by_hand():
    assert pareto_front([A, B, C, D]) == [D, B, A]
    assert best([C, B, A, D]) is A
    assert cheapest_tied([A, B, C, D]) is B
    assert cheapest_tied([C, D]) is C  # the best counts as tied with itself


def test_of_equals_the_cheapest_is_the_best_and_then_the_first():
    cheap, dear, other = (Candidate(n, 0.5, c) for n, c in (("c", 1), ("d", 2), ("o", 1)))
    assert best([dear, cheap, other]) is cheap
    assert pareto_front([dear, cheap, other]) == [cheap, other]


@given(CANDIDATES)
def test_the_front_is_what_nothing_dominates(rows):
    front = pareto_front(rows)
    by_rule = [row for row in rows if not any(dominates(other, row) for other in rows)]
    assert sorted(map(repr, front)) == sorted(map(repr, by_rule))
    assert [row.cost for row in front] == sorted(row.cost for row in front)
    assert best(rows) in front
    assert cheapest_tied(rows).cost <= best(rows).cost


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="must be numbers"):
        Candidate("a", float("nan"), 1)
    with pytest.raises(ValueError, match="no candidates"):
        best([])
