"""A stage in IPython, where Beam changes the labels of transforms with its interactive runner."""

from tests.programs import run_python

IN_IPYTHON = """
import sys
import types

shell = types.SimpleNamespace(config={"IPKernelApp": {}}, execution_count=7)
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].get_ipython = lambda: shell
sys.modules["apache_beam.runners.interactive"] = None  # cannot be imported

import mmfeat

print(len(mmfeat.shard(sys.argv[1], sys.argv[2])))

import apache_beam as beam
from apache_beam import pipeline
from apache_beam.utils.interactive_utils import alter_label_if_ipython

print(pipeline.alter_label_if_ipython is alter_label_if_ipython)
"""


def test_a_stage_runs_in_a_notebook(toy_table, tmp_path):
    printed = run_python(IN_IPYTHON, toy_table, tmp_path / "shards")
    assert printed.splitlines()[-2:] == ["60", "True"]
