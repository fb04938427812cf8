import posixpath

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.sources.paths import expand_pattern, resolve_path


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


@settings(deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "a", "b.png", "", "...", "a..b"]), min_size=1))
def test_resolved_paths_stay_in_the_root(names):
    path = "/".join(names)
    inside = posixpath.normpath(f"/data/root/{path}").startswith("/data/root")
    if path.startswith("/"):
        assert resolve_path("/data/root", path, allow_outside=False) == path
    elif inside:
        resolved = resolve_path("/data/root", path, allow_outside=False)
        assert posixpath.normpath(resolved) == posixpath.normpath(f"/data/root/{path}")
    else:
        with pytest.raises(RecordError, match="outside"):
            resolve_path("/data/root", path, allow_outside=False)
        resolved = resolve_path("/data/root", path, allow_outside=True)
        assert posixpath.normpath(resolved) == posixpath.normpath(f"/data/root/{path}")


def test_urls_as_paths_and_as_root():
    assert resolve_path("root", "s3://b/../x.png", allow_outside=False) == "s3://b/../x.png"
    assert resolve_path("s3://b/t", "x/../y.png", allow_outside=False) == "s3://b/t/y.png"
    assert resolve_path("", "x.png", allow_outside=False) == "x.png"
    with pytest.raises(RecordError, match="outside"):
        resolve_path("s3://b/t", "../y.png", allow_outside=False)
