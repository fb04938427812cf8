"""Which rows train, choose and judge."""

from collections import Counter

import pytest

from training.splits import NOWHERE, TEST, TRAIN, VAL, SplitRule

FIRST_TWELVE = "train val train train train train test train val train val train".split()

KEYS = [f"key-{number}" for number in range(5000)]


@pytest.mark.parametrize(
    ("says", "means"),
    [
        ("train", TRAIN),
        ("Training ", TRAIN),
        ("VALID", VAL),
        ("val", VAL),
        ("validation", VAL),
        ("dev", VAL),
        ("Test", TEST),
        ("holdout", NOWHERE),
        (None, NOWHERE),
        (3, NOWHERE),
    ],
)
def test_a_split_column_is_read_by_meaning(says: object, means: str) -> None:
    assert SplitRule("split").assign(["a"], [says]).tolist() == [means]


def test_the_hash_split_is_80_10_10() -> None:
    parts = Counter(SplitRule().assign(KEYS, []).tolist())
    assert parts[TRAIN] / 5000 == pytest.approx(0.8, abs=0.02)
    assert parts[VAL] / 5000 == pytest.approx(0.1, abs=0.02)
    assert parts[TEST] / 5000 == pytest.approx(0.1, abs=0.02)


def test_the_hash_split_never_moves_a_record() -> None:
    # Written down once: another version of mmfeat must not train on what this one tested on.
    assert SplitRule().assign(KEYS[:12], []).tolist() == FIRST_TWELVE
    shuffled = KEYS[::-1]
    assert SplitRule().assign(shuffled, [])[::-1].tolist() == SplitRule().assign(KEYS, []).tolist()


def test_carving_takes_a_tenth_of_the_training_rows_and_no_other() -> None:
    says = [TRAIN if number % 2 else TEST for number in range(5000)]
    carved = SplitRule("split", carve=True).assign(KEYS, says)
    parts = Counter(carved.tolist())
    assert parts[TEST] == 2500
    assert parts[VAL] / 2500 == pytest.approx(0.1, abs=0.02)
    assert parts[TRAIN] + parts[VAL] == 2500
