import os
import threading

import pytest

from mmfeat.import_path import safe_child_processes


@pytest.mark.parametrize("before", [None, "", "1"])
def test_overlapping_blocks_of_threads_restore_the_environment(monkeypatch, before):
    if before is None:
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONSAFEPATH", before)
    entered, leave = threading.Event(), threading.Event()

    def other():
        with safe_child_processes():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with safe_child_processes():
        thread.start()
        assert entered.wait(30)
    assert os.environ["PYTHONSAFEPATH"] == "1"  # the thread is still in its block
    leave.set()
    thread.join()
    assert os.environ.get("PYTHONSAFEPATH") == before
