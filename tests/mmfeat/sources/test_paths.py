import fsspec
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.sources.paths import expand_pattern


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in ("p-1.csv", "p-2.csv", "p-10.csv", "sub/p-3.csv", "odd[1]{2}.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("p-*.csv", ["p-1.csv", "p-10.csv", "p-2.csv"]),
        ("p-?.csv", ["p-1.csv", "p-2.csv"]),
        ("p-[!2].csv", ["p-1.csv"]),
        ("**/p-*.csv", ["p-1.csv", "p-10.csv", "p-2.csv", "sub/p-3.csv"]),
        ("p-{2,1}.csv", ["p-2.csv", "p-1.csv"]),
        ("p-{01..03}.csv", ["p-01.csv", "p-02.csv", "p-03.csv"]),
        ("{sub/p-*,p-1*}.csv", ["sub/p-3.csv", "p-1.csv", "p-10.csv"]),
        ("odd[1]{2}.csv", ["odd[1]{2}.csv"]),
        ("gone.csv", ["gone.csv"]),
    ],
)
def test_patterns_expand_in_order_of_braces_then_names(files, pattern, expected):
    assert expand_pattern(pattern) == expected
    absolute = pattern if pattern.startswith("{") else f"{files}/{pattern}"
    if absolute != pattern:
        assert expand_pattern(absolute) == [f"{files}/{name}" for name in expected]


def test_patterns_of_urls():
    for name in "ab":
        with fsspec.open(f"memory://paths/{name}.tar", "wb") as file:
            file.write(b"")
    expected = ["memory:///paths/a.tar", "memory:///paths/b.tar"]
    assert expand_pattern("memory://paths/*.tar") == expected
    assert expand_pattern("memory://paths/{b,a}.tar") == [
        "memory://paths/b.tar",
        "memory://paths/a.tar",
    ]


@pytest.mark.parametrize("pattern", ["*.tsv", "gone/*.csv", "{p,*.tsv}"])
def test_a_glob_without_matches_is_refused(files, pattern):
    with pytest.raises(MmfeatError, match="no file matches"):
        expand_pattern(pattern)


def test_braces_must_close(files):
    with pytest.raises(MmfeatError, match="must close"):
        expand_pattern("p-{1,2.csv")
