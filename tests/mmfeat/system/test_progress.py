import io
import sys

import pytest

from mmfeat.system import progress
from mmfeat.system.progress import ProgressBar, format_seconds, waiting_for


@pytest.fixture
def clock(monkeypatch):
    """The time that the bar sees, in a list of one number."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_has_the_speed_the_time_left_and_what_is_done(clock):
    bar = ProgressBar("train", 200, "epochs at most")
    assert bar.line() == "train: 0 of 200 epochs at most"
    clock[0] += 50
    bar.update(50, "learning rate 2 of 4, epoch 10 of ≤ 50")
    assert bar.line() == (
        "train: 50 of 200 epochs at most, 2 min 30 s left, learning rate 2 of 4, epoch 10 of ≤ 50"
    )
    clock[0] += 60
    assert "50 of 200 epochs at most, 1 min 30 s left" in bar.line()  # counts down
    clock[0] += 100
    assert "left" not in bar.line()  # the unit takes longer than estimated
    bar.update(40)  # it never moves back, and the detail stays
    assert bar.line().startswith("train: 50 of 200")
    assert bar.line().endswith("epoch 10 of ≤ 50")
    fast = ProgressBar("shard", 10_000, "records")
    clock[0] += 2
    fast.update(5000)
    assert fast.line() == "shard: 5,000 of 10,000 records, 2,500 records/s, 2 s left"
    epochs = ProgressBar("train", 200, "epochs at most")
    clock[0] += 10
    epochs.update(50)
    assert epochs.line() == "train: 50 of 200 epochs at most, 5 epochs/s, 30 s left"


def test_a_bar_prints_lines_although_nothing_is_updated(monkeypatch):
    lines = []
    monkeypatch.setattr(progress, "_SECONDS_BEFORE_FIRST_LINE", 0.0)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.001)
    with ProgressBar("verify", 3, "files") as bar:
        monkeypatch.setattr(progress, "print_err", lines.append)
        while len(lines) < 3:
            pass
        bar.update(3)
    assert lines[0] == "verify: 0 of 3 files"
    count = len(lines)
    assert bar.line() == "verify: 3 of 3 files" or "files/s" in bar.line()
    assert len(lines) == count  # the thread has ended


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal_shows_the_detail(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "200")
    with ProgressBar("train", 4, "epochs") as bar:
        bar.update(2, "validation [0.83]")
    assert "epochs: validation [0.83]" in terminal.getvalue()


def test_a_wait_is_named_if_it_is_long(monkeypatch, capfd):
    with waiting_for("reading the plan"):
        pass
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(progress, "_SECONDS_BEFORE_FIRST_LINE", 0.0)
    with waiting_for("reading the plan"):
        err = ""
        while "reading" not in err:
            err += capfd.readouterr().err
    assert err == "reading the plan …\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text
