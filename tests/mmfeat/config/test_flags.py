import pytest

from mmfeat.cli import main
from mmfeat.config.flags import choose_names, flag_names, parse_known_args, split_commas
from mmfeat.errors import MmfeatError, UsageError
from tests.mmfeat.config.example_config import CHECKED, REQUIRED, Model, Recipe, Train


def test_without_a_file_flags_and_defaults_count(train):
    assert train(*REQUIRED, "--lr", "0.1") == Train("F", "O", "t", recipe=Recipe(lr=0.1))


def test_a_flag_overrides_set_and_set_overrides_the_file(train):
    file = "{recipe: {lr: 1.0, epochs: 1}, model: {hidden: 1}}"
    sets = ("--set", "recipe.lr=2", "--set", "recipe.epochs=9", "--set", "epochs=2")
    options = train(*REQUIRED, *sets, "--epochs", "3", file=file)
    assert (options.model.hidden, options.recipe) == (1, Recipe(lr=2.0, epochs=3))


def test_a_repeated_flag_replaces_the_list_of_the_file(train):
    options = train(*REQUIRED, "--names", "x", "--names=y", "--columns", "z", file="{names: [a]}")
    assert options.names == ("x", "y")
    assert options.model.columns == ("z",)
    assert train(*REQUIRED, file="{names: [a, b]}").names == ("a", "b")


def test_a_negated_flag_overrides_the_file(train):
    assert not train(*REQUIRED, "--no-strict", file="strict: true").strict


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [(["X", "Y"], ("X", "Y")), (["X"], ("in", "X"))],
)
def test_positional_arguments_fill_those_the_file_lacks(train, arguments, paths):
    options = train(*arguments, "--target", "t", file="features: in")
    assert (options.features, options.output) == paths


def test_positional_arguments_override_a_complete_file(train):
    options = train("X", file="{features: in, output: out, target: t}")
    assert (options.features, options.output) == ("X", "out")


def test_a_missing_positional_argument_is_an_error(train):
    with pytest.raises(UsageError, match=r"mmfeat train needs OUTPUT\. See mmfeat train --help"):
        train("--target", "t", file="features: in")


def test_checks_run_once_and_on_final_values(train):
    train("F", "O", "--target", "t", file="{target: half-made, model: {hidden: 3}, fusion: sum}")
    assert [type(one) for one in CHECKED].count(Train) == 1
    assert [one.hidden for one in CHECKED if isinstance(one, Model) and one.fusion == "sum"] == [3]


def test_a_check_refuses_a_value_of_the_file(train):
    with pytest.raises(MmfeatError, match="--hidden must be at least 1; got 0"):
        train(*REQUIRED, file="hidden: 0")


def test_unknown_arguments_are_returned(tmp_path):
    (tmp_path / "a.yaml").write_text("lr: 1")
    flags = ["F", "O", "--runner=X", "--target", "t", "--config", str(tmp_path / "a.yaml")]
    options, unknown = parse_known_args(Train, flags, prog="x")
    assert (options.recipe.lr, options.output, unknown) == (1.0, "O", ["--runner=X"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["F", "O"], "mmfeat train needs --target"),
        ([], "mmfeat train needs FEATURES and OUTPUT and --target"),
        ([*REQUIRED, "--hiden", "3"], "got '--hiden'. Did you mean '--hidden'?"),
        (["--hiden=3"], "needs FEATURES"),
        ([*REQUIRED, "further"], "takes no further argument; got 'further'"),
        ([*REQUIRED, "--hidden"], "--hidden needs a value"),
        ([*REQUIRED, "--hidden", "1.5"], "--hidden must be a whole number; got '1.5'"),
        ([*REQUIRED, "--lr", "fast"], "--lr must be a number; got 'fast'"),
        (
            [*REQUIRED, "--mode", "bordr"],
            "--mode must be one of: no, border, empty; got 'bordr'. Did you mean 'border'?",
        ),
        ([*REQUIRED, "--config"], "--config needs a value"),
    ],
)
def test_an_error_in_the_arguments_is_one_line(train, capsys, arguments, message):
    with pytest.raises(UsageError) as caught:
        train(*arguments)
    assert message in str(caught.value)
    assert str(caught.value).endswith(" See mmfeat train --help")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "command", sorted({*main.COMMANDS} - {"completion", "doctor", "quickstart"})
)
def test_every_command_says_what_is_missing_in_one_line(mmfeat, command):
    result = mmfeat(command)
    assert result.returncode == 2
    assert f"mmfeat: error: mmfeat {command} needs " in result.stderr
    assert result.stderr.count("\n") == 1


def test_all_flags_of_a_command_are_known():
    assert {"--hidden", "--lr", "--target", "--no-strict", "--config"} <= {*flag_names(Train)}


def test_a_comma_separated_list_is_split():
    assert split_commas(" image, text,,") == ["image", "text"]
    assert split_commas("") == []


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_has_the_config_flags(mmfeat, command):
    out = mmfeat(command, "--help").stdout
    for flag in ("--config FILE.yaml", "--set NAME=VALUE", "--print-config"):
        assert flag in out


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["label, sku", "label"], ["label", "sku"]),
        (["a,b", "sku,a,b"], None),
        (["a,b"], ["a,b"]),
        ([""], []),
        ([], []),
    ],
)
def test_names_of_a_repeated_flag(flags, names):
    known = ("label", "sku", "a,b")
    if names is None:
        with pytest.raises(MmfeatError, match=r"no such column; got 'a'. .*There are: label, sku"):
            choose_names(flags, known, "no such column")
    else:
        assert choose_names(flags, known, "no such column") == names
