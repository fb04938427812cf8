from dataclasses import dataclass, field, fields

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmfeat.config.flags import parse_args
from mmfeat.config.yaml_file import read_yaml_file, to_yaml
from mmfeat.errors import MmfeatError
from tests.mmfeat.config.example_config import REQUIRED, Model, Recipe, Train


def error_of(train, *arguments, file=None):
    with pytest.raises(MmfeatError) as caught:
        train(*(arguments or REQUIRED), file=file)
    return str(caught.value)


def test_a_file_may_set_every_option(train):
    file = """
    features: F
    output: O
    target: t
    model: {fusion: sum, columns: [a, b]}
    recipe:
      lr: 3e-4
    split-column: fold
    mode: no
    strict: off
    rates: [1, 2e-1]
    names: one
    """
    assert train(file=file) == Train(
        "F",
        "O",
        "t",
        model=Model("sum", 64, ("a", "b")),
        recipe=Recipe(lr=3e-4),
        split_column="fold",
        mode="no",
        strict=False,
        rates=(1.0, 0.2),
        names=("one",),
    )


def test_null_unsets_an_option(train):
    assert train(*REQUIRED, file="{lr: null}").recipe.lr is None
    assert train(*REQUIRED, "--set", "lr=null", file="{lr: 1}").recipe.lr is None


def test_a_name_without_its_level_is_found(train):
    assert train(*REQUIRED, file="hidden: 7").model.hidden == 7
    assert train(*REQUIRED, "--set", "hidden=8").model.hidden == 8


def test_an_override_of_a_text_counts_as_typed(train):
    sets = ("--set", "split_column=2024", "--set", "target=", "--set", "names=1e3")
    options = train(*REQUIRED, *sets)
    assert (options.split_column, options.names) == ("2024", ("1e3",))
    assert train("F", "O", "--set", "target=").target == ""


@pytest.mark.parametrize("file", ["", "# nothing\n", "model:\n  # hidden: 3\n"])
def test_an_empty_file_is_valid(train, file):
    assert train(*REQUIRED, file=file) == Train("F", "O", "t")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("fusoin: gmu", "no option of this name; got 'fusoin'. Did you mean fusion?"),
        ("model: {hiden: 1}", "got 'model.hiden'. Did you mean hidden?"),
        ("model: {lr: 1}", "got 'model.lr'. Options: columns, fusion, hidden"),
        ("zzz: 1", "Options: columns, epochs, features"),
        ("1: 2", "no option of this name; got '1'"),
        ("lr: fast", "recipe.lr must be a number or null; got 'fast'"),
        ("lr: true", "recipe.lr must be a number or null; got True"),
        ("epochs: 1.5", "recipe.epochs must be a whole number; got 1.5"),
        ("epochs: .inf", "recipe.epochs must be a whole number; got inf"),
        ("epochs: null", "recipe.epochs must be a whole number"),
        ("strict: 1", "strict must be true or false; got 1"),
        ("split_column: 2024", "split_column must be text; got 2024. Put it in quotes"),
        ("split_column: no", "split_column must be text; got False. Put it in quotes"),
        ("split_column: 2024-01-02", "must be text; got datetime.date(2024, 1, 2). Put it in"),
        ("split_column: [a]", "split_column must be text; got ['a']"),
        ("mode: bordr", "mode must be one of 'no', 'border', ''; got 'bordr'"),
        ("mode: yes", "mode must be one of 'no', 'border', ''; got True"),
        ("names: [1]", "names must be a list, each item text; got [1]"),
        ("rates: {a: 1}", "rates must be a list, each item a number"),
        ("model: gmu", "model must be a mapping; got 'gmu'"),
        ("{fusion: a, model: {fusion: b}}", "model.fusion is given twice"),
        ("{split-column: a, split_column: b}", "split_column is given twice"),
        ("- a\n- b", "the file must be a mapping; got ['a', 'b']"),
        ("just words", "the file must be a mapping; got 'just words'"),
        ("a: [1", "is not YAML: "),
        ("a: b: c", "is not YAML: mapping values are not allowed here in line 1"),
        ("a: 2024-99-99", "is not YAML: month must be in 1..12"),
        ("a: !!timestamp x", "is not YAML: "),
        ("a: !!bool x", "is not YAML: "),
        ('a: !!int ""', "is not YAML: "),
        ("a: !!python/object:os.system x", "is not YAML: could not determine a constructor"),
        ("a: \0", "is not YAML: "),
        ("[" * 3000, "is not YAML: "),
    ],
    ids=range(33),
)
def test_a_mistake_in_the_file_is_one_line_with_its_name(train, file, message):
    error = error_of(train, file=file)
    assert message in error
    assert "run.yaml" in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr", "--set must be of the form NAME=VALUE; got 'lr'"),
        ("=3", "--set must be of the form NAME=VALUE"),
        ("lr=[1", "--set lr is not YAML"),
        ("recipe.lr=slow", "--set: recipe.lr must be a number or null; got 'slow'"),
        ("recipe.lrr=1", "Did you mean lr?"),
        ("lr.x=1", "recipe.lr must be a number or null; got {'x': 1}"),
        ("split_column=null", "split_column must be text"),
    ],
)
def test_a_mistake_in_an_override_is_an_error(train, override, message):
    assert message in error_of(train, *REQUIRED, "--set", override)


def test_an_unreadable_file_is_an_error(train, tmp_path):
    assert "no such file: " in error_of(train, *REQUIRED, "--config", str(tmp_path / "no.yaml"))
    assert "cannot read" in error_of(train, *REQUIRED, "--config", str(tmp_path))
    assert "cannot open zz://a" in error_of(train, *REQUIRED, "--config", "zz://a")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfd")
    assert "is not YAML" in error_of(train, *REQUIRED, "--config", str(tmp_path / "bytes.yaml"))


def test_an_ambiguous_name_needs_its_level():
    @dataclass
    class Box:
        size: int = 1

    @dataclass
    class Boxes:
        left: Box = field(default_factory=Box)
        right: Box = field(default_factory=Box)

    def run(override):
        return parse_args(Boxes, ["--set", override], prog="x")

    with pytest.raises(MmfeatError, match=r"Write left\.size or right\.size"):
        run("size=2")
    assert run("right.size=2") == Boxes(Box(1), Box(2))


def test_the_printed_config_has_every_field_and_reads_back(train, capsys):
    flags = (*REQUIRED, "--lr", "1e-5", "--fusion", "no", "--mode", "no")
    flags += ("--names", "ä: b", "--names", "2")
    with pytest.raises(SystemExit) as caught:
        train(*flags, "--print-config", file="rates: [1e-7, 0.5]")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert list(yaml.safe_load(text)) == [field.name for field in fields(Train)]
    assert yaml.safe_load(text)["model"] == {"fusion": "no", "hidden": 64, "columns": []}
    assert train(file=text) == train(*flags, file="rates: [1e-7, 0.5]")


@given(
    fusion=st.text(),
    lr=st.none() | st.floats(allow_nan=False),
    epochs=st.integers(),
    rates=st.lists(st.floats(allow_nan=False)),
    names=st.lists(st.text()),
    strict=st.booleans(),
)
def test_any_values_survive_writing_and_reading(
    tmp_path_factory, fusion, lr, epochs, rates, names, strict
):
    model, recipe = Model(fusion), Recipe(lr, epochs)
    options = Train("F", "O", "t", model, recipe, "", "no", strict, tuple(rates), tuple(names))
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_text(to_yaml(options), encoding="utf-8", newline="")
    values = read_yaml_file(str(path), Train)
    assert values["model", "fusion"] == fusion
    assert (values["recipe", "lr"], values["recipe", "epochs"]) == (lr, epochs)
    assert values["rates",] == tuple(rates)
    assert (values["names",], values["strict",]) == (tuple(names), strict)


def test_a_command_runs_from_a_file_alone(mmfeat, tmp_path):
    (tmp_path / "info.yaml").write_text(f"path: {tmp_path}\njson: true\n")
    result = mmfeat("info", "--config", tmp_path / "info.yaml")
    assert result.returncode == 1
    assert "has none" in result.stderr
    printed = mmfeat("info", "--config", tmp_path / "info.yaml", "--no-json", "--print-config")
    assert printed.returncode == 0
    assert yaml.safe_load(printed.stdout) == {"path": str(tmp_path), "json": False}
