from hypothesis import given
from hypothesis import strategies as st

from mmfeat.extraction.batching import batches


@given(
    lengths=st.lists(st.integers(1, 40), max_size=60),
    size=st.integers(1, 9),
    budget=st.one_of(st.none(), st.integers(1, 100)),
)
def test_every_record_is_in_one_batch_and_no_batch_costs_too_much(lengths, size, budget):
    found = list(batches(lengths, size, budget))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) <= size
        assert (
            not budget or len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget
        )


def test_records_of_like_length_meet_the_longest_first_and_equal_ones_keep_their_order():
    assert list(batches([1, 5, 1, 5, 1], 2, None)) == [[1, 3], [0, 2], [4]]
    assert list(batches([1] * 5, 2, None)) == [[0, 1], [2, 3], [4]]
