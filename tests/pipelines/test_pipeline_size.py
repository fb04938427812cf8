"""The pipeline that a runner gets does not grow with the number of shards."""

import pickle

import apache_beam as beam
import pytest

from mmfeat.extraction import Extraction
from mmfeat.extraction.config import ExtractConfig
from mmfeat.scoring import ScoreConfig, Scoring
from mmfeat.sharding import ShardConfig, Sharding
from mmfeat.store import ShardTask, Stage
from pipelines.transforms import ProcessShards, ReadTasks, read_tasks, write_tasks


class CountingStage(Stage):
    """A stage that only has a name."""

    name = "count"

    def __init__(self, output):
        self.output = self.config = output

    def plan(self):
        return []

    def process(self, task, loaded):
        raise AssertionError

    def is_made(self, task):
        return False

    def try_records(self, task, rows, loaded):
        raise AssertionError

    def finish(self, shards):
        return {}


def tasks_of(number):
    entry = {"sha256": "0" * 64, "records": 10}
    return [
        ShardTask(f"{i:05d}", 10, fresh=True, pending=("image",), source=entry)
        for i in range(number)
    ]


def test_tasks_pass_through_a_file(tmp_path):
    tasks = [*tasks_of(3), ShardTask("x", 1, deadly={4: "killed by signal 9"})]
    write_tasks(f"{tmp_path}/tasks", tasks)
    read = list(read_tasks(f"{tmp_path}/tasks"))
    assert [(task.shard, task.fresh, task.source) for task in read] == [
        (task.shard, task.fresh, task.source) for task in tasks
    ]
    assert read[0].pending == ["image"]
    assert read[3].deadly == {4: "killed by signal 9"}


@pytest.mark.parametrize("in_runner", [False, True])
def test_a_pipeline_of_many_shards_has_the_size_of_one_of_few(tmp_path, in_runner):
    sizes = []
    for number in (10, 10_000):
        path = f"{tmp_path}/{number:09d}"
        write_tasks(path, tasks_of(number))
        pipeline = beam.Pipeline()
        shards = ProcessShards(CountingStage(str(tmp_path)), 2, in_runner)
        _ = pipeline | ReadTasks(path) | shards
        sizes.append(len(pipeline.to_runner_api().SerializeToString()))
    assert abs(sizes[0] - sizes[1]) < 100


def test_planned_stages_carry_no_list_of_shards(mmfeat, toy_table, tmp_path):
    sizes = {"shard": [], "extract": [], "score features": [], "score shards": []}
    for records in (30, 1):
        shards, features = f"{tmp_path}/shards{records:02d}", f"{tmp_path}/features{records:02d}"
        sharding = Sharding(ShardConfig(str(toy_table), shards, samples_per_shard=records))
        sharding.plan()
        sizes["shard"].append(len(pickle.dumps(sharding)))
        assert mmfeat("shard", toy_table, shards, "--samples-per-shard", records).returncode == 0
        flags = {"encoder": ("text=builtin:text?dim=64",), "precision": "float32", "batch_size": 8}
        extraction = Extraction(ExtractConfig(shards, features, **flags))
        assert len(extraction.plan()) == 60 / records
        sizes["extract"].append(len(pickle.dumps(extraction)))
        encoder = ("--encoder", flags["encoder"][0])
        assert mmfeat("extract", shards, features, *encoder).returncode == 0
        if records == 30:
            train = ("--target", "label", "--fusion", "concat", "--epochs", 1, "--lr", 0.003)
            assert mmfeat("train", features, f"{tmp_path}/model", *train).returncode == 0
        for source in (features, shards):
            output = f"{tmp_path}/{len(sizes['score features'])}{records:02d}"
            scoring = Scoring(ScoreConfig(f"{tmp_path}/model", source, output))
            assert len(scoring.plan()) == 60 / records
            kind = "features" if source == features else "shards"
            sizes[f"score {kind}"].append(len(pickle.dumps(scoring)))
    for few, many in sizes.values():
        assert abs(few - many) < 100
