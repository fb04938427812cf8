import pytest

from mmfeat.storage import files
from mmfeat.store import (
    check_output,
    has_unfinished,
    is_unfinished,
    leave_mark,
    mark_unfinished,
    remove_marks,
)


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return str(tmp_path) if request.param == "local" else f"memory://{tmp_path}"


def test_work_is_unfinished_while_it_runs_and_after_a_death(folder):
    assert not has_unfinished(folder)
    with mark_unfinished(folder, "00000"):
        assert is_unfinished(folder, "00000")
    assert not is_unfinished(folder, "00000")
    leave_mark(folder, "00001")  # as a death does
    assert has_unfinished(folder)
    assert not is_unfinished(folder, "00000")
    remove_marks(folder)
    assert not has_unfinished(folder)


def test_work_that_failed_is_not_unfinished(folder):
    with pytest.raises(ValueError, match="failed"), mark_unfinished(folder, "00000"):
        raise ValueError("failed")
    assert not has_unfinished(folder)


def test_a_mark_does_not_make_a_directory_foreign(folder):
    leave_mark(folder, "image")
    assert check_output(folder, "features") is None


def test_storage_that_fails_leaves_no_mark(tmp_path):
    with mark_unfinished(str(tmp_path / "absent" / "folder"), "00000"):
        pass
    assert not has_unfinished(str(tmp_path / "absent" / "folder"))


def test_a_mark_is_removed_although_storage_fails_once(folder, monkeypatch):
    remove, failures = files.remove, iter([OSError("reset"), OSError("reset")])

    def flaky_remove(path):
        for error in failures:
            raise error
        remove(path)

    monkeypatch.setattr(files, "remove", flaky_remove)
    with mark_unfinished(folder, "00000"):
        pass
    assert not has_unfinished(folder)
