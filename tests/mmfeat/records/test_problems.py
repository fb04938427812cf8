import pytest

from mmfeat.records import EarlierRow, Record, Sample, has_passing_problem, parse_problems
from mmfeat.records.problems import format_problems

PROBLEMS = {
    "image": ("unavailable", "http://h/1.png: HTTP 503 after 3 retries"),
    "image.back": ("not_found", "a: b; c, d"),
    "text": ("missing", ""),
}


def test_problems_survive_in_a_row() -> None:
    sample = Sample(Record(0, "k"), problems=PROBLEMS)
    parsed = parse_problems(sample.reason, sample.error)
    assert {slot: reason for slot, (reason, _) in parsed.items()} == {
        slot: reason for slot, (reason, _) in PROBLEMS.items()
    }
    assert parsed["image"] == PROBLEMS["image"]
    assert parse_problems(None, None) == {}
    whole = Sample(Record(0, "k"), problems={"": ("malformed_row", "3 fields")})
    assert parse_problems(whole.reason, whole.error) == whole.problems


@pytest.mark.parametrize(
    ("reason", "passes"),
    [
        ("image:unavailable", True),
        ("text:missing, image.back:unavailable", True),
        ("unavailable", True),
        ("image:not_found, text:missing", False),
        ("unavailable:missing", False),
        ("", False),
    ],
)
def test_only_unavailable_parts_can_pass(reason: str, passes: bool) -> None:
    assert has_passing_problem(reason) == passes
    assert EarlierRow("k", "partial", reason, "").can_pass == passes


@pytest.mark.parametrize(
    ("detail", "passes"),
    [
        ("http://h/1.png: HTTP 503 after 3 retries", True),
        ("http://h/1.png: HTTP 429", True),
        ("http://h/1.png: timed out after 1 retry", True),
        ("http://h/1.png: not finished within 300 s", True),
        ("http://h/1.png: NewConnectionError: [Errno 111] Connection refused", True),
        ("http://h/1.png: HTTP 403", False),
        ("/data/1.png: [Errno 13] Permission denied", False),
        ("/data/folder: not a regular file", False),
    ],
)
def test_outages_of_older_stores_are_recognized(detail: str, passes: bool) -> None:
    """Stores made before the reason `unavailable` have `unreadable` for them."""
    row = EarlierRow("k", "partial", "image:unreadable", f"image:unreadable: {detail}")
    assert row.can_pass == passes


def test_a_detail_of_any_length_is_cut() -> None:
    _, error = format_problems({"image": ("not_found", "a" * 100_000), "": ("duplicate", "b")})
    assert error == f"image:not_found: {'a' * 2000}…; duplicate: b"
