import os

import pytest

from mmfeat.config.separate_paths import check_separate, contains
from mmfeat.errors import MmfeatError


def is_refused(output, path):
    try:
        check_separate(output, {"INPUT": path})
    except MmfeatError:
        return True
    return False


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: photos/cats/, and a link to it."""
    (tmp_path / "photos/cats").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "photos/cats")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("photos", "photos"),
        ("photos/", "photos"),
        ("photos/out", "photos"),
        ("photos/out", "./photos//"),
        ("photos/cats/../out/new", "photos"),
        ("out/../photos/out", "photos/"),
        ("link/out", "photos"),
        ("photos/cats/out", "link"),
        ("photos/out", "file://{here}/photos"),
        ("local://{here}/photos/out", "photos"),
        ("photos", "photos/cats"),
        (".", "photos"),
        ("photos", "photos/table.csv"),
        ("photos/table.csv/out", "photos/table.csv"),
        ("photos/out", "photos/*/*.tar"),
        ("photos/out", "photos/{{cats,out}}/*.tar"),
        ("photos/out", "photos/**/*.tar"),
        ("photos/out", "photos/**"),
        ("photos/out", "photos/*"),
        ("memory://bucket/photos/out", "memory://bucket/photos"),
        ("memory://bucket/photos/out", "memory://bucket/photos/"),
        ("memory://bucket/a/../photos/out", "memory://bucket/photos"),
        ("MEMORY://bucket/photos", "memory://bucket/photos/cats"),
    ],
)
def test_an_output_that_overlaps_the_input_is_refused(folder, output, path):
    assert is_refused(output.format(here=folder), path.format(here=folder))


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("out", "photos"),
        ("photos2", "photos"),
        ("photos/out", "photos/table.csv"),
        ("photos/out", "photos/*.tar"),
        ("photos/out", "photos/{{000..127}}.tar"),
        ("photos/cats/out", "photos/*/*.tar.gz"),
        ("photos/../out", "photos"),
        ("memory://bucket/out", "memory://bucket/photos"),
        ("memory://bucket/photos2", "memory://bucket/photos"),
        ("memory://{here}/photos/out", "photos"),
        ("photos/out", "https://example.com/photos/table.csv"),
        ("", "photos"),
    ],
)
def test_an_output_beside_the_input_is_accepted(folder, output, path):
    assert not is_refused(output.format(here=folder), path)


def test_names_do_not_matter_where_the_folder_is_the_same(folder, monkeypatch):
    """As on a disk that ignores case, or that is mounted twice."""
    assert not contains("photos", "PHOTOS/out")
    samefile, exists = os.path.samefile, os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: exists(path.replace("PHOTOS", "photos")))
    monkeypatch.setattr(os.path, "samefile", lambda a, b: a.lower() == b.lower() or samefile(a, b))
    assert contains("photos", "PHOTOS/out")
