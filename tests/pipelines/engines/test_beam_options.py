import pytest
from apache_beam.options.pipeline_options import StandardOptions

from mmfeat.config import flag_names
from mmfeat.errors import MmfeatError, UsageError
from mmfeat.sharding import ShardConfig
from pipelines.engines import LOCAL_RUNNER, beam_options, make_pipeline


def runner(*flags):
    return beam_options(flags).view_as(StandardOptions).runner


def test_the_default_runner_is_local():
    assert runner() == LOCAL_RUNNER
    assert runner("--runner=DirectRunner") == LOCAL_RUNNER


def test_flags_of_beam_are_passed_on():
    flags = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"]
    options = beam_options(flags).get_all_options()
    assert options["job_endpoint"] == "embed"
    assert options["environment_type"] == "LOOPBACK"


def test_a_wrong_value_of_a_flag_of_beam_is_one_line(capsys):
    with pytest.raises(UsageError, match="--direct_num_workers: invalid int value: 'x'"):
        beam_options(["--direct_num_workers", "x"])
    assert capsys.readouterr() == ("", "")


def test_a_mistyped_flag_is_refused():
    with pytest.raises(MmfeatError, match=r"got '--direct_num_worker=2'.*--direct_num_workers"):
        beam_options(["--direct_num_worker=2"])


OWN_FLAGS = flag_names(ShardConfig)


@pytest.mark.parametrize("runner", ["FnApiRunner", "PortableRunner"])
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--samples-per-shrad", "--samples-per-shard"),
        ("--samples_per_shrad=10", "--samples-per-shard"),
        ("--no-folder-label", "--no-folder-labels"),
        ("--key-colum=sku", "--key-column"),
        ("--dryrun", "--dry-run"),
        ("--confg", "--config"),
    ],
)
def test_a_mistyped_flag_of_the_command_is_corrected(runner, typed, meant):
    with pytest.raises(MmfeatError, match=rf"Did you mean {meant}\?"):
        beam_options([f"--runner={runner}", typed], OWN_FLAGS)


def test_flags_of_another_runner_are_passed_on():
    flags = ["--runner=PortableRunner", "--their_own_option=3"]
    assert "--their_own_option=3" in beam_options(flags, OWN_FLAGS)._flags


def test_an_argument_too_many_is_named():
    with pytest.raises(MmfeatError, match="takes no further argument; got 'extra'"):
        beam_options(["extra"], OWN_FLAGS)


def test_a_dry_run_refuses_a_mistyped_flag(mmfeat, toy_table, tmp_path):
    result = mmfeat("shard", toy_table, tmp_path / "out", "--dry-run", "--samples-per-shrad", 7)
    assert result.returncode == 2
    assert "Did you mean --samples-per-shard?" in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runner=Dataflow", "--project=P"], "Invalid Project ID .P."),
        (["--runner=Dataflow"], "Missing required option: project"),
    ],
)
def test_flags_that_a_runner_refuses_are_one_error_line(flags, message):
    with pytest.raises(MmfeatError, match=f"Beam refuses its flags: .*{message}") as caught:
        make_pipeline(beam_options(flags))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--direct_running_mode=multi_processing", "never ends if one of its workers dies"),
        ("--streaming", "a stage ends when all its shards are made"),
    ],
)
def test_unsafe_settings_are_refused_with_the_reason(flag, reason):
    with pytest.raises(MmfeatError, match=f"^{flag} cannot be used: .*{reason}"):
        beam_options([flag])


def test_the_embedded_job_server_does_not_ask_for_docker():
    options = beam_options(["--runner=portable", "--job_endpoint=embed"])
    assert options.get_all_options()["environment_type"] == "LOOPBACK"
