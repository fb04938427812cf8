"""The comparison of engines says what it could not do."""

import json
import sys
from contextlib import contextmanager

import pytest

from tests.engines import install, main


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_an_engine_without_its_tools_is_skipped_with_the_reason(monkeypatch, tmp_path, engine):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    with pytest.raises(install.MissingToolError, match="no java"):
        install.install_jars(engine)
    with pytest.raises(install.MissingToolError, match="no go"):
        install.install_program("prism")


def test_a_stage_that_ends_before_the_fault_is_no_success(tmp_path):
    with (
        pytest.raises(RuntimeError, match="ended before anything was killed"),
        main._fault(lambda: None, tmp_path),
    ):
        pass


def test_the_last_line_has_the_result_of_each_engine(monkeypatch, tmp_path, capsys):
    @contextmanager
    def broken(logs):
        raise RuntimeError("no server")
        yield

    @contextmanager
    def missing(logs):
        raise install.MissingToolError("no java")
        yield

    def run_command(*arguments):
        if arguments[0] in ("shard", "extract", "score"):
            output = main.Path(arguments[3 if arguments[0] == "score" else 2])
            output.mkdir(parents=True)
            name = run_command.calls
            run_command.calls += 1
            content = "other" if name == 4 else "same"
            (output / "data").write_text(content)

    run_command.calls = 0
    engines = {"local": main.local, "other": main.embedded, "broken": broken, "missing": missing}
    monkeypatch.setattr(main, "ENGINES", engines)
    monkeypatch.setattr(main, "run_command", run_command)
    monkeypatch.setattr(sys, "argv", ["engines", "--data", str(tmp_path)])
    assert main.main() == 1
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert results["local"]["equal"] is True
    assert results["other"]["equal"] is False  # one of its stages wrote other bytes
    assert results["broken"] == {"equal": False, "error": "no server"}
    assert results["missing"] == {"skipped": "no java"}
