import errno
import os

import pytest

from mmfeat.system.os_errors import explain_os_error


def refused(action):
    try:
        action()
    except OSError as error:
        return str(explain_os_error(error))
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some space"),
        (errno.EACCES, "Change the permissions"),
        (errno.EPERM, "Change the permissions"),
        (errno.EROFS, "can be written"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EFBIG, "ulimit -f"),
        (errno.ENOMEM, "memory"),
        (errno.ETIMEDOUT, "network"),
    ],
)
def test_each_kind_of_failure_has_its_own_cure(number, cure):
    text = str(explain_os_error(OSError(number, os.strerror(number), "/out/00000.tar")))
    assert text.startswith(f"{os.strerror(number)}: /out/00000.tar. ")
    assert cure in text
    assert "half-written" not in text


def test_errors_of_the_system_name_the_path(tmp_path):
    file = tmp_path / "table.csv"
    file.touch()
    assert refused((tmp_path / "missing").read_bytes) == (
        f"No such file or directory: {tmp_path / 'missing'}. Check the path"
    )
    assert f"Is a directory: {tmp_path}. Name a file" in refused(tmp_path.read_bytes)
    assert "Name a directory, not a file" in refused((file / "x").read_bytes)
    assert f"{file} → {tmp_path}" in refused(lambda: os.replace(file, tmp_path))


def test_errors_without_a_number_are_told_by_their_class():
    assert str(explain_os_error(FileNotFoundError("bucket/key"))) == (
        "No such file or directory: bucket/key. Check the path"
    )
    assert "Change the permissions" in str(explain_os_error(PermissionError("Forbidden")))
    assert "network" in str(explain_os_error(ConnectionResetError()))
    assert str(explain_os_error(OSError("line one\n  line two"))) == "line one line two"
