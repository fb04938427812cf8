import pytest

from mmfeat.config.flags import parse_args
from tests.mmfeat.config.example_config import CHECKED, Train


@pytest.fixture
def train(tmp_path):
    """Parses the arguments of `Train`, with the text of a --config file."""

    def run(*arguments, file=None):
        if file is not None:
            (tmp_path / "run.yaml").write_text(file, encoding="utf-8")
            arguments = (*arguments, "--config", str(tmp_path / "run.yaml"))
        CHECKED.clear()
        return parse_args(Train, arguments, prog="mmfeat train")

    return run
