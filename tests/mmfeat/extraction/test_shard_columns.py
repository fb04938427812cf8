"""A shard is made again with smaller batches if the memory of the GPU does not hold one."""

import gc
import json
import threading

import numpy as np
import pytest
import torch

from mmfeat.encoders import Encoder, EncoderSpec
from mmfeat.extraction.column_start import claim_column, read_tuned_settings
from mmfeat.extraction.shard_columns import ColumnTask, make_columns
from mmfeat.extraction.tuning import TunedSettings
from mmfeat.features import FeatureShape, TableFiles
from mmfeat.features.column_reader import read_column_file
from mmfeat.shards import ShardRecord
from mmfeat.shards.tar_reader import TarSample
from mmfeat.store import ShardTask
from mmfeat.system import progress

SPEC = EncoderSpec("text", "text", "small", "small")
TEXTS = [f"text {row}" for row in range(100)]


class SmallGpu(Encoder):
    """Encodes a text as its number and the size of its batch, of which few fit its memory."""

    modality = "text"
    dim = 2
    on_gpu = True
    parallel_batches = 2

    def __init__(self, fitting):
        self.fitting, self.sizes, self._lock = fitting, [], threading.Lock()

    def identity(self):
        return {"name": "small"}

    def decode(self, data):
        return int(data.split()[1])

    def encode(self, batch):
        with self._lock:
            self.sizes.append(len(batch))
        if len(batch) > self.fitting:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.array([[number, len(batch)] for number in batch], np.float32)


def make_shard(store, encoder, shard="00000", batch_size=64, compiled=False):
    table = TableFiles(str(store), "text", 2)
    tuned = TunedSettings("float32", batch_size, {}, compile=compiled)
    column = claim_column(table.receipts, SPEC, encoder, tuned)

    def read_records():
        for row, text in enumerate(TEXTS):
            yield ShardRecord(str(row), {"text": "ok"}, TarSample(str(row), {"txt": text.encode()}))

    task = ShardTask(shard, len(TEXTS))
    columns = {"text": ColumnTask(table, column, encoder, tuned, "text", normalize=False)}
    make_columns(task, columns, read_records, {"sha256": "s"}, threads=1)
    rows = read_column_file(*table.find_rows(shard), FeatureShape(2))
    return rows, table


def test_all_records_get_a_feature_with_batches_of_half_the_size(tmp_path, capsys):
    encoder = SmallGpu(fitting=20)
    rows, table = make_shard(tmp_path, encoder)
    assert rows.present.all()
    assert rows.features[:, 0].tolist() == list(range(100))
    assert set(rows.features[:, 1].tolist()) == {16.0, 4.0}
    assert read_tuned_settings(table.receipts).memory_limit == 16
    assert "at most 16 records per batch of column text" in capsys.readouterr().err


def test_records_of_a_shard_that_is_made_again_count_once(tmp_path):
    before = progress.RECORDS_DONE.value
    make_shard(tmp_path, SmallGpu(fitting=20))
    assert progress.RECORDS_DONE.value - before == 100


def test_later_shards_and_runs_begin_with_the_recorded_size(tmp_path):
    make_shard(tmp_path, SmallGpu(fitting=20))
    later = SmallGpu(fitting=20)
    rows, table = make_shard(tmp_path, later, "00001")
    assert max(later.sizes) == 16
    again, _ = make_shard(tmp_path / "other", SmallGpu(fitting=16), batch_size=16)
    assert rows.features.tolist() == again.features.tolist()
    settled = json.loads((tmp_path / "columns" / "text" / "column.json").read_text())["settled"]
    assert (settled["batch_size"], settled["memory_limit"]) == (64, 16)
    assert table.read_receipt("00001").out == 100


def test_a_record_that_does_not_fit_alone_is_rejected(tmp_path):
    rows, table = make_shard(tmp_path, SmallGpu(fitting=0))
    assert not rows.present.any()
    assert table.read_receipt("00000").rejected == {"encoder_failed": 100}


def test_garbage_collections_skip_older_objects_only_within_a_shard(tmp_path):
    frozen = []

    class Watching(SmallGpu):
        def encode(self, batch):
            frozen.append(gc.get_freeze_count())
            return super().encode(batch)

    make_shard(tmp_path, Watching(fitting=64))
    assert min(frozen) > 10_000
    assert gc.get_freeze_count() == 0


class Compiled(SmallGpu):
    """Every batch is padded to the size that was compiled."""

    def __init__(self, fitting, rows):
        super().__init__(fitting)
        self.rows = rows

    def compiled(self, rows):
        encoder = Compiled(self.fitting, rows)
        encoder.sizes = self.sizes
        return encoder

    def encode(self, batch):
        padded = [*batch, *[0] * (self.rows - len(batch))]
        return super().encode(padded)[: len(batch)]


def test_a_compiled_forward_pass_gets_the_smaller_size(tmp_path):
    encoder = Compiled(fitting=20, rows=64)
    rows, table = make_shard(tmp_path, encoder, compiled=True)
    assert rows.features[:, 0].tolist() == list(range(100))
    assert set(rows.features[:, 1].tolist()) == {16.0}
    assert set(encoder.sizes) == {64, 32, 16}
    assert read_tuned_settings(table.receipts).memory_limit == 16


@pytest.mark.parametrize("fitting", [64, 1000])
def test_enough_memory_leaves_the_batch_size_as_it_is(tmp_path, fitting):
    rows, table = make_shard(tmp_path, SmallGpu(fitting))
    assert set(rows.features[:, 1].tolist()) == {64.0, 36.0}
    assert read_tuned_settings(table.receipts).memory_limit is None


def test_an_encoder_that_does_not_say_that_it_uses_a_gpu_gets_split_batches(tmp_path):
    """As a plug-in might."""
    encoder = SmallGpu(fitting=20)
    encoder.on_gpu = False
    rows, table = make_shard(tmp_path, encoder)
    assert rows.features[:, 0].tolist() == list(range(100))
    assert read_tuned_settings(table.receipts).memory_limit is None
