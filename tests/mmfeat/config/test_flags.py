from dataclasses import dataclass, field, fields
from typing import Literal

import pytest
import tyro
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmfeat.cli import main
from mmfeat.config.flags import FeaturesPath, OutputPath, RepeatedFlag, parse, parse_known
from mmfeat.errors import MmfeatError

CHECKED: list[object] = []


@dataclass(frozen=True)
class Model:
    """How the model is built."""

    fusion: str = "gmu"
    """How the modalities meet."""
    hidden: int = 256
    """Length of a vector."""
    columns: RepeatedFlag = ()
    """Columns."""

    def __post_init__(self):
        CHECKED.append(self)
        if self.hidden < 1:
            raise MmfeatError("--hidden must be at least 1", got=self.hidden)


@dataclass(frozen=True)
class Recipe:
    """How it is trained."""

    lr: float | None = None
    """Learning rate."""
    epochs: int = 50
    """Passes."""


@dataclass(frozen=True)
class Train:
    """Train."""

    features: FeaturesPath
    """Features."""
    output: OutputPath
    """Output."""
    target: str
    """Target."""
    model: tyro.conf.OmitArgPrefixes[Model] = field(default_factory=lambda: Model(hidden=64))
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    split_column: str = ""
    """Split."""
    mode: Literal["no", "border", ""] = "border"
    """Mode."""
    strict: bool = True
    """Strict."""
    rates: tuple[float, ...] = ()
    """Rates."""
    names: RepeatedFlag = ()
    """Names."""

    def __post_init__(self):
        CHECKED.append(self)
        if self.target == "half-made":
            raise MmfeatError("--target must be another", got=self.target)


PATHS = ("F", "O", "--target", "t")


@pytest.fixture
def train(tmp_path):
    """Parses a command line, with a file of the given text as --config."""

    def run(*arguments, file=None):
        if file is not None:
            (tmp_path / "run.yaml").write_text(file, encoding="utf-8")
            arguments = (*arguments, "--config", str(tmp_path / "run.yaml"))
        CHECKED.clear()
        return parse(Train, arguments, prog="mmfeat train")

    return run


def refused(train, *arguments, file=None):
    with pytest.raises(MmfeatError) as caught:
        train(*(arguments or PATHS), file=file)
    return str(caught.value)


def test_without_a_file_only_flags_and_defaults_count(train):
    assert train(*PATHS, "--lr", "0.1") == Train("F", "O", "t", recipe=Recipe(lr=0.1))


def test_a_file_may_give_every_option_with_arguments_and_levels(train):
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


def test_a_flag_wins_over_set_and_set_over_the_file(train):
    file = "{recipe: {lr: 1.0, epochs: 1}, model: {hidden: 1}}"
    sets = ("--set", "recipe.lr=2", "--set", "recipe.epochs=9", "--set", "epochs=2")
    options = train(*PATHS, *sets, "--epochs", "3", file=file)
    assert (options.model.hidden, options.recipe) == (1, Recipe(lr=2.0, epochs=3))


def test_a_repeated_flag_replaces_the_files_list(train):
    options = train(*PATHS, "--names", "x", "--names=y", "--columns", "z", file="{names: [a, b]}")
    assert options.names == ("x", "y")
    assert options.model.columns == ("z",)
    assert train(*PATHS, file="{names: [a, b]}").names == ("a", "b")


def test_a_negated_flag_wins_over_the_file(train):
    assert not train(*PATHS, "--no-strict", file="strict: true").strict


def test_null_unsets_an_option(train):
    assert train(*PATHS, file="{lr: null}").recipe.lr is None
    assert train(*PATHS, "--set", "lr=null", file="{lr: 1}").recipe.lr is None


def test_a_flat_name_finds_its_level(train):
    assert train(*PATHS, file="hidden: 7").model.hidden == 7
    assert train(*PATHS, "--set", "hidden=8").model.hidden == 8


def test_an_override_of_a_text_is_taken_as_typed(train):
    options = train(*PATHS, "--set", "split_column=2024", "--set", "target=", "--set", "names=1e3")
    assert (options.split_column, options.names) == ("2024", ("1e3",))
    assert train("F", "O", "--set", "target=").target == ""


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [(["X", "Y"], ("X", "Y")), (["X"], ("in", "X"))],
)
def test_positional_arguments_fill_what_the_file_lacks(train, arguments, paths):
    options = train(*arguments, "--target", "t", file="features: in")
    assert (options.features, options.output) == paths


def test_positional_arguments_win_over_a_file_that_has_them_all(train):
    options = train("X", file="{features: in, output: out, target: t}")
    assert (options.features, options.output) == ("X", "out")


def test_a_lacking_argument_is_told_as_ever(train, capsys):
    with pytest.raises(SystemExit) as caught:
        train("--target", "t", file="features: in")
    assert caught.value.code == 2
    assert "OUTPUT" in capsys.readouterr().err


def test_checks_see_the_final_values_and_only_once(train):
    train(
        "F",
        "O",
        "--target",
        "t",
        file="{target: half-made, model: {hidden: 3}, fusion: sum}",
    )
    assert [type(one) for one in CHECKED].count(Train) == 1
    assert [one.hidden for one in CHECKED if isinstance(one, Model) and one.fusion == "sum"] == [3]


def test_a_check_refuses_what_the_file_says(train):
    assert "--hidden must be at least 1; got 0" in refused(train, file="hidden: 0")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("fusoin: gmu", "no option of that name; got 'fusoin'. Did you mean fusion?"),
        ("model: {hiden: 1}", "got 'model.hiden'. Did you mean hidden?"),
        ("model: {lr: 1}", "got 'model.lr'. There are: columns, fusion, hidden"),
        ("zzz: 1", "There are: columns, epochs, features"),
        ("1: 2", "no option of that name; got '1'"),
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
        ("names: [1]", "names must be a list, each of it text; got [1]"),
        ("rates: {a: 1}", "rates must be a list, each of it a number"),
        ("model: gmu", "model must be a mapping; got 'gmu'"),
        ("{fusion: a, model: {fusion: b}}", "model.fusion is given twice"),
        ("{split-column: a, split_column: b}", "split_column is given twice"),
        ("- a\n- b", "the file must be a mapping; got ['a', 'b']"),
        ("just words", "the file must be a mapping; got 'just words'"),
        ("a: [1", "is not YAML: "),
        ("a: b: c", "is not YAML: mapping values are not allowed here in line 1"),
        ("a: 2024-99-99", "is not YAML: month must be in 1..12"),
        ("a: !!python/object:os.system x", "is not YAML: could not determine a constructor"),
        ("a: \0", "is not YAML: "),
        ("[" * 3000, "is not YAML: "),
    ],
    ids=range(30),
)
def test_a_mistake_in_the_file_is_told_in_one_line_that_names_the_file(train, file, told):
    message = refused(train, file=file)
    assert told in message
    assert "run.yaml" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("lr", "--set must be of the form NAME=VALUE; got 'lr'"),
        ("=3", "--set must be of the form NAME=VALUE"),
        ("lr=[1", "--set lr: not YAML"),
        ("recipe.lr=slow", "--set: recipe.lr must be a number or null; got 'slow'"),
        ("recipe.lrr=1", "Did you mean lr?"),
        ("lr.x=1", "recipe.lr must be a number or null; got {'x': 1}"),
        ("split_column=null", "split_column must be text"),
    ],
)
def test_a_mistake_in_an_override_is_told(train, override, told):
    assert told in refused(train, *PATHS, "--set", override)


def test_a_file_that_is_not_there_or_not_readable_is_told(train, tmp_path):
    assert "no such file: " in refused(train, *PATHS, "--config", str(tmp_path / "no.yaml"))
    assert "cannot read" in refused(train, *PATHS, "--config", str(tmp_path))
    assert "cannot open zz://a" in refused(train, *PATHS, "--config", "zz://a")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfd")
    assert "is not YAML" in refused(train, *PATHS, "--config", str(tmp_path / "bytes.yaml"))


@pytest.mark.parametrize("file", ["", "# nothing\n", "model:\n  # hidden: 3\n"])
def test_a_file_that_sets_nothing_is_fine(train, file):
    assert train(*PATHS, file=file) == Train("F", "O", "t")


def test_two_options_of_one_name_need_their_level():
    @dataclass
    class One:
        size: int = 1

    @dataclass
    class Both:
        left: One = field(default_factory=One)
        right: One = field(default_factory=One)

    def run(override):
        return parse(Both, ["--set", override], prog="x")

    with pytest.raises(MmfeatError, match=r"Write left\.size or right\.size"):
        run("size=2")
    assert run("right.size=2") == Both(One(1), One(2))


def test_unknown_flags_are_handed_back_and_not_taken_for_options(tmp_path):
    (tmp_path / "a.yaml").write_text("lr: 1")
    flags = ["F", "O", "--runner=X", "--target", "t", "--config", str(tmp_path / "a.yaml")]
    options, unknown = parse_known(Train, flags, prog="x")
    assert (options.recipe.lr, options.output, unknown) == (1.0, "O", ["--runner=X"])


def test_an_unknown_flag_is_refused_where_none_is_handed_on(train, capsys):
    with pytest.raises(SystemExit) as caught:
        train(*PATHS, "--hiden", "3", file="features: in")
    assert caught.value.code == 2
    assert "--hiden" in capsys.readouterr().err


def printed(train, capsys, *arguments, file=None):
    with pytest.raises(SystemExit) as caught:
        train(*arguments, "--print-config", file=file)
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_printed_configuration_has_every_field_and_loads_to_the_same(train, capsys):
    flags = (
        *PATHS,
        "--lr",
        "1e-5",
        "--fusion",
        "no",
        "--mode",
        "no",
        "--names",
        "ä: b",
        "--names",
        "2",
    )
    text = printed(train, capsys, *flags, file="rates: [1e-7, 0.5]")
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
def test_whatever_the_values_a_printed_configuration_loads_to_them(
    tmp_path_factory, fusion, lr, epochs, rates, names, strict
):
    from mmfeat.config.yaml_file import read_file, to_yaml

    options = Train(
        "F",
        "O",
        "t",
        Model(fusion),
        Recipe(lr, epochs),
        "",
        "no",
        strict,
        tuple(rates),
        tuple(names),
    )
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_text(to_yaml(options), encoding="utf-8", newline="")
    read = read_file(str(path), Train)
    assert read["model", "fusion"] == fusion
    assert (read["recipe", "lr"], read["recipe", "epochs"]) == (lr, epochs)
    assert (read["rates",], read["names",], read["strict",]) == (tuple(rates), tuple(names), strict)


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_explains_the_flags_of_its_configuration(mmfeat, command):
    out = mmfeat(command, "--help").stdout
    for flag in ("--config FILE.yaml", "--set NAME=VALUE", "--print-config"):
        assert flag in out


def test_a_command_runs_from_a_file_alone(mmfeat, tmp_path):
    (tmp_path / "info.yaml").write_text(f"path: {tmp_path}\njson: true\n")
    result = mmfeat("info", "--config", tmp_path / "info.yaml")
    assert result.returncode == 1
    assert "has none" in result.stderr
    told = mmfeat("info", "--config", tmp_path / "info.yaml", "--no-json", "--print-config")
    assert told.returncode == 0
    assert yaml.safe_load(told.stdout) == {"path": str(tmp_path), "json": False}
