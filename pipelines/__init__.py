"""The stages as Apache Beam pipelines. Start at `run_stage.py`."""

from mmfeat.import_path import drop_working_directory

drop_working_directory()
