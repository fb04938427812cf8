import subprocess
import sys
from pathlib import Path

import pytest

import mmfeat
from mmfeat.api import Comparison, Features, Predictions, Shards, TrainedModel
from mmfeat.cli.commands import COMMANDS
from mmfeat.errors import MmfeatError
from tests.conftest import picture_bytes


def test_each_command_returns_its_store(stores):
    kinds = {name: type(mmfeat.open(stores / name)) for name in ("shards", "features", "model")}
    assert kinds == {"shards": Shards, "features": Features, "model": TrainedModel}
    assert isinstance(mmfeat.open(stores / "predictions"), Predictions)


def test_options_are_those_of_the_command_line(stores, mmfeat, tmp_path):
    """The same options give the same bytes."""
    result = mmfeat(
        "train", stores / "features", tmp_path / "model", "--target", "label",
        "--fusion", "logistic", "--inverse-penalty", 1,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    weights = "model.safetensors"
    assert (tmp_path / "model" / weights).read_bytes() == (stores / "model" / weights).read_bytes()


def test_options_are_checked_by_name_and_type(stores, tmp_path):
    features, out = stores / "features", tmp_path / "out"
    with pytest.raises(MmfeatError, match=r"no option of this name.*fusio.*Did you mean fusion"):
        mmfeat.train(features, out, target="label", fusio="gmu")
    with pytest.raises(MmfeatError, match="epochs must be a whole number"):
        mmfeat.train(features, out, target="label", epochs="many")
    with pytest.raises(MmfeatError, match="compare needs the option target"):
        mmfeat.compare(features, out)
    with pytest.raises(MmfeatError, match="OUTPUT must lie apart from FEATURES"):
        mmfeat.train(features, features / "model", target="label")
    with pytest.raises(MmfeatError, match="--hidden must be at least 1"):
        mmfeat.train(features, out, target="label", hidden=0)
    with pytest.raises(MmfeatError, match="--sample must be above 0"):
        mmfeat.verify(features, sample=0)
    assert not out.exists()


def test_a_repeated_flag_may_be_a_mapping(stores, tmp_path):
    shards = mmfeat.open(stores / "shards")
    features = mmfeat.extract(shards, tmp_path / "features", encoder={"words": "builtin:text"})
    assert list(features.columns) == ["words"]


def test_evaluate_returns_the_metrics(stores):
    result = mmfeat.evaluate(stores / "model", stores / "features")
    assert result["accuracy"] == 1.0
    with pytest.raises(MmfeatError, match="split must be one of"):
        mmfeat.evaluate(stores / "model", stores / "features", split="tset")


def test_compare_returns_leaderboard_and_winner(stores, tmp_path):
    comparison = mmfeat.compare(
        stores / "features",
        tmp_path / "comparison",
        target="label",
        fusions=["sum"],
        seeds=1,
        epochs=2,
        workers=1,
    )
    assert isinstance(comparison, Comparison)
    assert comparison.manifest["winner"]["name"] in comparison.leaderboard["name"].to_pylist()
    assert comparison.winner.classes == ["cat", "dog"]
    assert comparison.manifest["winner"]["name"] in repr(comparison)


def test_verify_finds_and_removes_damage(tmp_path):
    table = tmp_path / "raw" / "items.csv"
    table.parent.mkdir()
    (table.parent / "a.png").write_bytes(picture_bytes())
    table.write_text("file_name,text\na.png,red\n")
    shards = mmfeat.shard(table, tmp_path / "shards")
    assert not mmfeat.verify(shards.path).all_damages
    tar = tmp_path / "shards" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:-512] + b"x" * 512)
    assert mmfeat.verify(shards.path).all_damages
    assert mmfeat.verify(shards.path, fix=True).all_damages
    assert not tar.exists()


def test_an_unfinished_or_unknown_folder_is_refused(tmp_path):
    with pytest.raises(MmfeatError, match=r"a store of mmfeat has a config\.json"):
        mmfeat.open(tmp_path)
    with pytest.raises(MmfeatError, match="only a command"):
        mmfeat.shard(tmp_path / "x.csv", tmp_path / "out", dry_run=True)


def test_the_import_of_beam_logs_nothing(stores, tmp_path):
    """It warns about clients that are not installed; the logging of the program stays as it is."""
    code = (
        "import logging, sys, mmfeat; mmfeat.shard(*sys.argv[1:]); "
        "assert 'apache_beam' in sys.modules; assert not logging.getLogger().filters"
    )
    paths = (stores / "raw" / "items.csv", tmp_path / "shards")
    result = subprocess.run(
        [sys.executable, "-c", code, *paths], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr


@pytest.mark.parametrize("function", ["open", "info", "verify"])
def test_a_file_is_no_store(function, tmp_path):
    (tmp_path / "rows.csv").write_text("key,text\n")
    with pytest.raises(MmfeatError, match=r"is a folder, and .*rows\.csv is a file"):
        getattr(mmfeat, function)(tmp_path / "rows.csv")


def test_report_writes_the_page_of_a_model_and_refuses_other_stores(stores):
    page = mmfeat.report(stores / "model", worst=2)
    assert page == str(stores / "model" / "report.html")
    assert "<html" in (stores / "model" / "report.html").read_text()
    with pytest.raises(MmfeatError, match="must hold a model or a comparison"):
        mmfeat.report(stores / "shards")
    with pytest.raises(MmfeatError, match="--worst must be between 0 and 100"):
        mmfeat.report(stores / "model", worst=1000)


def test_every_command_but_those_of_the_terminal_is_a_function_that_the_docs_list():
    page = (Path(__file__).parents[3] / "docs" / "python.md").read_text("utf-8")
    for command in COMMANDS.keys() - {"doctor"}:
        name = command.replace("-", "_")
        assert callable(getattr(mmfeat, name))
        assert f"| {command} | `mmfeat.{name}(" in page


def test_duplicates_are_a_table_with_a_length(stores, tmp_path):
    duplicates = mmfeat.dedup(stores / "features", tmp_path / "duplicates", threshold=0.5)
    table = duplicates.to_arrow()
    assert len(duplicates) == table.num_rows > 0
    assert duplicates.to_pandas()["__key__"].tolist() == table["__key__"].to_pylist()
    assert duplicates.to_polars()["__key__"].to_list() == table["__key__"].to_pylist()


def test_the_text_of_a_search_is_short(stores):
    key = next(iter(mmfeat.open(stores / "features"))).key
    result = mmfeat.search(stores / "features", like=key, count=12)
    title, *lines = repr(result).splitlines()
    assert key in title
    assert f"{len(result):,} records" in title
    assert lines[0].split()[-1] == result.keys[0]
    assert len(lines) == min(len(result), 11)
    assert "pyarrow" not in repr(result)
