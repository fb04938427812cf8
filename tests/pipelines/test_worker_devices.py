"""Each GPU has a worker process of its own, which takes the next shard when it is free."""

import os
import subprocess
import sys

from mmfeat.encoders import Encoder
from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.extraction.tuning import TunedSettings
from pipelines import worker
from tests.programs import REPOSITORY

PROGRAM = """
import os, time
from pathlib import Path
from mmfeat.store import ShardTask, Stage
from pipelines.shard_workers import make_in_workers

class Toy(Stage):
    name, device = "toy", "none"
    worker_devices = ("cuda:0", "cuda:1")

    def plan(self):
        return [ShardTask(f"{number:05}", 1, fresh=True) for number in range(8)]

    def use_device(self, device):
        self.device = device

    def load(self):
        return f"encoder on {self.device}"

    def is_made(self, task):
        return Path(self.output, task.shard).exists()

    def process(self, task, loaded):
        time.sleep(0.1)
        Path(self.output, task.shard).write_text(f"{os.getpid()}, {loaded}")

    def try_records(self, task, rows, loaded):
        pass

    def finish(self, shards):
        return {}

def main():
    os.mkdir("out")
    stage = Toy()
    stage.output = os.path.abspath("out")
    print(*sorted(make_in_workers(stage, stage.plan(), 2)))
"""


def test_shards_are_handed_out_to_one_process_per_device(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    result = subprocess.run(
        [sys.executable, "-c", "import program; program.main()"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert result.stdout.split() == [f"{number:05}" for number in range(8)]
    made = [path.read_text().split(", ") for path in (tmp_path / "out").iterdir()]
    assert {encoder for _, encoder in made} == {"encoder on cuda:0", "encoder on cuda:1"}
    assert len({(pid, encoder) for pid, encoder in made}) == 2


def test_more_processes_than_devices_share_them(monkeypatch):
    stage = Extraction(ExtractConfig("shards", "out"))
    stage.worker_devices = ("cuda:0", "cuda:1")
    started = []
    monkeypatch.setattr(worker, "worker_pool", lambda *a, **options: started.append(options))
    worker.stage_workers(stage, 3)
    stage.worker_devices = ()
    worker.stage_workers(stage, 3)
    assert started[0]["worker_initargs"] == [("cuda:0",), ("cuda:1",), ("cuda:0",)]
    assert started[1]["worker_initargs"] == []


class OnGpus(Encoder):
    """Claims two GPUs."""

    devices = ("cuda:0", "cuda:1")

    def identity(self):
        return {}

    def decode(self, data):
        return data

    def encode(self, batch):
        raise NotImplementedError


def test_extraction_has_a_process_per_gpu_and_each_loads_its_encoder_there(monkeypatch):
    for processes, expected in ((0, 2), (4, 4)):
        stage = Extraction(ExtractConfig("shards", "out", processes=processes))
        monkeypatch.setattr(stage, "load", lambda: {"image": OnGpus()})
        stage._limit_processes()
        assert (stage.max_processes, tuple(stage.worker_devices)) == (expected, OnGpus.devices)
    stage.encoding.tuned["image"] = TunedSettings("bfloat16", 256, {})
    assert stage.encoding.settings("image").device == "auto"
    stage.use_device("cuda:1")
    assert stage.encoding.settings("image").device == "cuda:1"
