"""The options of `mmfeat compare`: their fields are the flags."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from mmfeat.config.flags import FeaturesPath, OutputPath
from mmfeat.errors import MmfeatError
from training.config import (
    FLAT,
    AccessOptions,
    LayerOptions,
    RecipeOptions,
    SplitOptions,
    TaskName,
    at_least_one,
)


@dataclass(frozen=True)
class CompareConfig:
    """Compare fusions by quality and cost, and keep the one that is picked, ready to score.

    Each modality alone, logistic and ridge regression always take part. A model's learning rate is
    the best on validation for its first seed. The table is of the test split, which decides
    nothing: what is picked is picked on validation. A killed comparison goes on where it stopped.
    """

    features: FeaturesPath
    """Directory that `mmfeat extract` wrote."""
    output: OutputPath
    """Directory of the comparison: leaderboard.parquet, report.html, and the model in winner/."""
    target: str
    """Column of the samples table to learn, as in `mmfeat train`."""
    task: TaskName = "multiclass"
    """What is learned, as in `mmfeat train`."""
    label_separator: str = ","
    """What stands between labels in a text, as in `mmfeat train`."""
    modalities: str = ""
    """Feature columns to use, as image,text; empty = all."""
    fusions: str = "all"
    """Fusions to compare, as gmu,concat; all = every one that the columns allow."""
    combinations: str = "mlp"
    """Combinations to compare each fusion with, as linear,mlp; all = every one."""
    seeds: int = 5
    """Trainings of each model, which differ in first weights, order of rows, and dropout."""
    pick: Literal["best", "cheapest-tied"] = "best"
    """best: the highest metric on validation; cheapest-tied: the fewest FLOPs among those that
    validation cannot tell from the best."""
    workers: int | None = None
    """Processes that train side by side, with one thread each; None = one a core, 1 = none but
    the command's own (peak memory is then that of all models so far)."""
    emap_rows: int = 300
    """Test rows on which it is measured what a model owes to interaction between modalities; the
    cost goes by their square."""
    split: Annotated[SplitOptions, FLAT] = field(default_factory=SplitOptions)
    layers: Annotated[LayerOptions, FLAT] = field(default_factory=LayerOptions)
    recipe: Annotated[RecipeOptions, FLAT] = field(default_factory=RecipeOptions)
    data: Annotated[AccessOptions, FLAT] = field(default_factory=AccessOptions)

    def __post_init__(self) -> None:
        at_least_one(self, "seeds", "workers", "emap_rows")
        if self.task == "align":
            raise MmfeatError("compare needs a target; the task align has none", got=self.task)
