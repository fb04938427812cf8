"""The command `mmfeat report`."""

from pathlib import Path

import pytest

from mmfeat.errors import MmfeatError
from tests.programs import run_python
from training.report.report_command import main


def test_command_prints_the_page_path(make_model, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model()
    main([model, "--worst", "3"])
    assert capsys.readouterr().out.strip() == f"{model}/report.html"
    assert Path(model, "report.html").read_text("utf-8").count('data-group="top"') == 3


def test_other_directories_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="a model or a comparison"):
        main([str(tmp_path)])


def test_an_unfinished_comparison_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "comparison"}')
    with pytest.raises(MmfeatError, match=r"is not finished\. Run mmfeat compare again"):
        main([str(tmp_path)])


def test_worst_is_limited(tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="--worst"):
        main([str(tmp_path), "--worst", "1000"])


def test_import_loads_neither_torch_nor_matplotlib() -> None:
    module = "training.report.report_command"
    code = f"import sys, {module}; print({{'torch', 'matplotlib'}} & {{*sys.modules}})"
    assert run_python(code).strip() == "set()"
