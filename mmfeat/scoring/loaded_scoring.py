"""What the tasks of a scoring process share: the models, the input, threads, and drift so far."""

import copy
import threading
from dataclasses import dataclass, field
from typing import Self

from threadpoolctl import threadpool_limits

from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.finishing import check_drift
from mmfeat.scoring.inputs import RowReader, ScoringInput
from mmfeat.scoring.monitoring import Monitoring
from mmfeat.scoring.predicting import ModelRunner, ScoredModels, usable_cores
from mmfeat.scoring.rows import RowSelection
from mmfeat.store import RunStoppedError


@dataclass
class LoadedScoring:
    """What the tasks of a process share.

    Attributes:
        models: the models.
        reader: reads or encodes shards.
        selection: selects records.
        runner: runs the models.
        scored: numbers about the records that are scored so far.
    """

    models: ScoredModels
    reader: RowReader
    selection: RowSelection
    runner: ModelRunner
    scored: Monitoring
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(
        cls, config: ScoreConfig, source: ScoringInput, processes: int, scored: Monitoring
    ) -> Self:
        """Load the models and what the input needs.

        Args:
            config: options.
            source: the input.
            processes: processes on this machine that make shards.
            scored: numbers about the records that earlier runs have scored.
        """
        # Threads of numpy would only wait for the cores on which the models run.
        threadpool_limits(1, user_api="blas")
        models = ScoredModels.load(config.models)
        for model in models.models:
            if model.loaded.task.name == "describe":
                model.loaded.decode_with(config.texts)
        threads = config.threads or max(1, usable_cores() // processes)
        runner = ModelRunner(
            [model.loaded for model in models.models],
            threads,
            embedding=config.embedding,
            explain=config.explain,
        )
        selection = RowSelection(config.where, config.keys)
        reader = source.load(models, processes)
        return cls(models, reader, selection, runner, copy.deepcopy(scored))

    def check_drift(self, shard: Monitoring, limit: float | None) -> None:
        """Add the numbers of a shard that is scored, and compare all with the training.

        Raises:
            RunStoppedError: a column drifts more than the limit.
        """
        if limit is None:
            return
        with self._lock:
            self.scored.add(shard)
            check_drift(self.scored, self.models.statistics, limit, RunStoppedError)
