"""The options of `mmfeat compare`. Each field is a flag."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from mmfeat.config import FeaturesPath, OutputPath, split_commas
from mmfeat.errors import MmfeatError
from training.config import (
    FLAT,
    AccessOptions,
    LayerOptions,
    RecipeOptions,
    SplitOptions,
    TaskName,
    check_at_least_one,
)
from training.describe_options import DescribeOptions, check_describe


@dataclass(frozen=True)
class CompareConfig:
    """Compare fusions by quality and cost, and keep the best one, ready to score.

    Each modality alone, logistic regression and ridge regression always take part. The first seed
    of a model chooses its learning rate on validation. The table shows the test split; validation
    alone decides which model is picked. Run the same command again to continue a killed comparison.
    """

    features: FeaturesPath
    """Directory that `mmfeat extract` wrote."""
    output: OutputPath
    """Directory for leaderboard.parquet, report.html, and the picked model in winner/."""
    target: str
    """Column of the samples table to predict, as in `mmfeat train`."""
    task: TaskName = "multiclass"
    """Kind of target, as in `mmfeat train`."""
    label_separator: str = ","
    """Text between the labels of a record, as in `mmfeat train`."""
    null_labels: str = ""
    """Texts that mean "no target", as in `mmfeat train`."""
    modalities: str = ""
    """Feature columns to use, for example image,text; empty = all."""
    fusions: str = "all"
    """Fusions to compare, for example gmu,concat; all = every fusion that the columns allow."""
    combinations: str = "mlp"
    """Combinations to compare each fusion with, for example linear,mlp; all = every combination."""
    seeds: int = 5
    """Trainings of each model. Seeds differ in initial weights, order of rows, and dropout."""
    pick: Literal["best", "cheapest-tied"] = "best"
    """best: the best metric on validation; cheapest-tied: the fewest FLOPs among the models
    tied with the best on validation."""
    workers: int | None = None
    """Processes that train in parallel, with one thread each; None = one per core, 1 = train in
    the main process (peak memory is then the peak of all models so far)."""
    time_limit: float | None = None
    """Seconds after which no model is trained any more. Models and seeds that are not finished
    then are missing from the table; the same command without a limit, or with a longer one, trains
    them. None = no limit."""
    emap_rows: int = 300
    """Test rows used to measure interaction between modalities (EMAP); the cost grows with their
    square."""
    split: Annotated[SplitOptions, FLAT] = field(default_factory=SplitOptions)
    layers: Annotated[LayerOptions, FLAT] = field(default_factory=LayerOptions)
    recipe: Annotated[RecipeOptions, FLAT] = field(default_factory=RecipeOptions)
    describe: Annotated[DescribeOptions, FLAT] = field(default_factory=DescribeOptions)
    data: Annotated[AccessOptions, FLAT] = field(default_factory=AccessOptions)

    @property
    def named_fusions(self) -> list[str]:
        """Fusions that are named; empty for all."""
        return [] if self.fusions == "all" else split_commas(self.fusions)

    @property
    def named_combinations(self) -> list[str]:
        """Combinations that are named; empty for all."""
        return [] if self.combinations == "all" else split_commas(self.combinations)

    def __post_init__(self) -> None:
        check_at_least_one(self, "seeds", "workers", "emap_rows")
        check_describe(self.task, self.describe, {"--auxiliary": self.recipe.auxiliary})
        if self.time_limit is not None and not self.time_limit > 0:
            raise MmfeatError("--time-limit must be above 0 seconds", got=self.time_limit)
        if self.task == "align":
            raise MmfeatError(
                "compare needs a task with a target",
                got=self.task,
                cure="Train an alignment with: mmfeat train FEATURES OUTPUT --task align",
            )
