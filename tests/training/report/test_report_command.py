"""The command `mmfeat report`."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmfeat.errors import MmfeatError
from training.report.command import main


def test_it_says_where_the_page_is(make_model, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model()
    main([model, "--worst", "3"])
    assert capsys.readouterr().out.strip() == f"{model}/report.html"
    assert Path(model, "report.html").read_text("utf-8").count("<article") == 3


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="a model or a comparison"):
        main([str(tmp_path)])


def test_worst_has_bounds(tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="--worst"):
        main([str(tmp_path), "--worst", "1000"])


def test_the_command_loads_nothing_heavy_before_it_must() -> None:
    code = "import sys, training.report.command; print({'torch', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
