from hypothesis import given
from hypothesis import strategies as st

from mmfeat.extraction.encoding.batch_encoding import batch_by_length


@given(
    lengths=st.lists(st.integers(1, 40), max_size=60),
    batch_size=st.integers(1, 9),
    budget=st.one_of(st.none(), st.integers(1, 100)),
)
def test_batches_cover_all_records_within_the_limits(lengths, batch_size, budget):
    batches = list(batch_by_length(lengths, batch_size, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= batch_size
        cost = max(lengths[index] for index in batch) * len(batch)
        assert not budget or len(batch) == 1 or cost <= budget


def test_longest_come_first_and_equal_lengths_keep_their_order():
    assert list(batch_by_length([1, 5, 1, 5, 1], 2, None)) == [[1, 3], [0, 2], [4]]
    assert list(batch_by_length([1] * 5, 2, None)) == [[0, 1], [2, 3], [4]]
