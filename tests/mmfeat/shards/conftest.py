from collections import Counter

import pytest

from mmfeat.errors import RecordError
from mmfeat.shards.tar_index import index_tar


@pytest.fixture
def index(tmp_path):
    """Indexes the bytes of a tar; returns samples, the error or None, and ignored members."""

    def run(content):
        path = tmp_path / "a.tar"
        path.write_bytes(content)
        ignored, samples = Counter(), []
        try:
            for sample in index_tar(str(path), ignored):
                samples.append(sample)
                assert len(samples) < 1000
        except RecordError as error:
            return samples, str(error), ignored
        return samples, None, ignored

    return run
