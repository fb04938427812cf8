import pytest
from apache_beam.options.pipeline_options import StandardOptions

from mmfeat.errors import MmfeatError
from pipelines.beam_options import LOCAL, beam_options


def runner(*flags):
    return beam_options(flags).view_as(StandardOptions).runner


def test_this_machine_is_the_default_runner():
    assert runner() == LOCAL
    assert runner("--runner=DirectRunner") == LOCAL


def test_flags_of_beam_reach_beam():
    flags = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"]
    options = beam_options(flags).get_all_options()
    assert options["job_endpoint"] == "embed"
    assert options["environment_type"] == "LOOPBACK"


def test_a_mistyped_flag_is_refused_and_not_lost():
    with pytest.raises(MmfeatError, match=r"got '--direct_num_worker=2'.*--direct_num_workers"):
        beam_options(["--direct_num_worker=2"])


def test_a_runner_that_computes_half_a_pipeline_is_refused():
    with pytest.raises(MmfeatError, match="DaskRunner cannot be used"):
        beam_options(["--runner", "DaskRunner"])
