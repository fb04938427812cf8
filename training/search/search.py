"""Fit all candidates of a search: linear models first, then networks."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.system import ProgressBar
from training.config import TrainConfig
from training.data import TRAIN, Dataset
from training.fit.checkpoint import Checkpoint
from training.fit.device import ComputeConfig
from training.fit.resolve import ResolvedRun
from training.recipe import INVERSE_PENALTIES, RIDGE_PENALTIES, AdamWRecipe, LogisticRecipe
from training.search.candidate import Candidate, Judge, Judgement
from training.search.folds import Folds, make_folds
from training.search.linear.inputs import PLAIN, WEIGHTED
from training.search.linear.kernel import PENALTIES as KERNEL_PENALTIES
from training.search.linear.stage import LinearStage
from training.search.networks.budget import Budget
from training.search.networks.specs import (
    FOLD_STEPS,
    LEARNING_RATES,
    MIN_FOLD_STEPS,
    list_specs,
    spec_work,
    with_steps,
)
from training.search.networks.stage import NetworkSpec, NetworkStage

_MAX_EPOCHS = 15
"""Most epochs of a network on many rows if the budget allows them."""
_FINALISTS = {"fast": 1, "default": 1, "best": 3}
"""Networks that are trained on all folds."""

_DIVERGED = "its predictions are not finite"
_LATE = "the time limit was reached"
NO_BUDGET = "no budget left"
"""Why a network was not trained on all folds; see `training.search.networks.budget`."""

_HOPELESS = 1.25
"""Factor by which the loss of a network in its trial must exceed that of the best linear or kernel
model to be dropped; less may still help in an ensemble, and a trial is short."""


class Search:
    """Fits all candidates of a search.

    Args:
        config: the options.
        store: the features.
        dataset: the rows.
        network: layers and recipes of the main fusion.
        compute: device and precision of networks on many rows.
        checkpoint: checkpoint of networks on many rows.

    Attributes:
        folds: the rows that fit and that choose.
        judge: judges predictions of the rows that choose.
        dropped: networks that were not trained on all folds, and why.
    """

    def __init__(
        self,
        config: TrainConfig,
        store: FeatureStore,
        dataset: Dataset,
        network: ResolvedRun,
        compute: ComputeConfig,
        checkpoint: Checkpoint,
    ) -> None:
        self.compute, self.checkpoint = compute, checkpoint
        self.config, self.network, self.dataset = config, network, dataset
        self.folds: Folds = make_folds(dataset, store, config.search.folds)
        recipe = network.recipes[0]
        assert isinstance(recipe, AdamWRecipe)
        self.recipe = recipe
        targets = dataset.targets[self.folds.rows]
        self.judge = Judge(dataset.objective, targets, recipe.metric, self.folds.groups)
        self.dropped: dict[str, str] = {}
        rows = len(dataset.split_rows[TRAIN]) + len(self.folds.rows)
        self.budget = Budget.of(rows, config.search.quality)
        limit = config.search.time_limit
        self._deadline = None if limit is None else time.monotonic() + limit

    def run(self) -> list[Candidate]:
        """Return all candidates that predict all rows that choose."""
        names = list(self.dataset.present)
        subsets = [[name] for name in names] + ([names] if len(names) > 1 else [])
        subsets = [subset for subset in subsets if self._is_usable(subset)]
        with ProgressBar("train", len(subsets) + 1, "parts of the search") as bar:
            linear = self._linear_stage()
            candidates = []
            for subset in subsets:
                candidates += linear.fit(subset)
                bar.advance(1)
            candidates += self._networks(candidates)
            bar.advance(1)
        finite = [c for c in candidates if np.isfinite(c.logits).all()]
        kept = {candidate.name for candidate in finite}
        self.dropped |= {c.name: _DIVERGED for c in candidates if c.name not in kept}
        if not finite:
            raise MmfeatError(
                "a model of the search must have finite predictions",
                got=", ".join(self.dropped),
                cure="Check --lr and --inverse-penalty, and the features for huge values",
            )
        return finite

    def _is_usable(self, subset: Sequence[str]) -> bool:
        """Whether rows that fit, and rows that choose, have one of the columns."""
        has_any = np.logical_or.reduce([self.dataset.present[name] for name in subset])
        training = self.folds.whole.split_rows[TRAIN]
        return bool(has_any[training].any() and has_any[self.folds.rows].any())

    def _linear_stage(self) -> LinearStage:
        options = self.config.recipe
        recipe = LogisticRecipe(
            metric=self.recipe.metric,
            seed=self.recipe.seed,
            epochs=self.recipe.epochs,
            imbalance=self.recipe.imbalance,
            prior=self.recipe.prior,
            inverse_penalty=1.0,
        )
        given = [options.inverse_penalty] if options.inverse_penalty is not None else None
        scalings = [PLAIN, WEIGHTED]
        if options.standardised is not None:
            scalings = [WEIGHTED if options.standardised else PLAIN]
        return LinearStage(
            folds=self.folds,
            judge=self.judge,
            recipe=recipe,
            logistic_penalties=[]
            if self.config.task == "regression"
            else given or INVERSE_PENALTIES[::2],
            ridge_penalties=given or RIDGE_PENALTIES,
            kernel_penalties=[1 / c for c in given] if given else KERNEL_PENALTIES,
            scalings=scalings,
        )

    def _networks(self, linear: Sequence[Candidate]) -> list[Candidate]:
        """Train each network on the first fold, and the best ones on all folds."""
        options = self.config.recipe
        stage = NetworkStage(self.folds, self.judge, self.compute.device)
        few = self.folds.is_crossed and self.config.search.quality != "best"
        rates = LEARNING_RATES[:1] if few else LEARNING_RATES
        if options.lr is not None:
            rates = (options.lr,)
        specs = list_specs(
            self.network.architecture,
            self.recipe,
            rates,
            self.config.model.condition,
            self.config.search.quality,
        )
        rows = stage.trial_rows
        specs = [with_steps(spec, rows, options.epochs, options.batch_size) for spec in specs]
        tried: list[tuple[Judgement, NetworkSpec]] = []
        for spec in specs:
            if self._is_late():
                self.dropped[spec.name] = _LATE
                continue
            if not self.budget.take(spec_work(spec, rows)):
                self.dropped[spec.name] = NO_BUDGET
                continue
            part, logits = stage.try_out(spec)
            if not np.isfinite(logits).all():
                self.dropped[spec.name] = _DIVERGED
                continue
            tried.append((self.judge.judge(logits, part), spec))
        tried.sort(key=lambda trial: trial[0].loss)
        finalists = tried[: _FINALISTS[self.config.search.quality]]
        rivals = max(linear, key=lambda candidate: candidate.judgement.key)
        candidates = []
        for number, (judgement, spec) in enumerate(tried):
            found = self._trial_text(judgement)
            if number >= len(finalists):
                best, best_spec = tried[0]
                rival = f"{best_spec.name} ({self._trial_text(best)})"
                self.dropped[spec.name] = f"worse in its trial ({found}) than {rival}"
            elif self._is_hopeless(judgement, rivals.logits):
                rival = "the best linear or kernel model"
                self.dropped[spec.name] = f"worse in its trial ({found}) than {rival}"
            elif self._is_late():
                self.dropped[spec.name] = _LATE
            elif candidate := self._finish(stage, spec, number):
                candidates.append(candidate)
            else:
                self.dropped[spec.name] = NO_BUDGET
        return candidates

    def _trial_text(self, judgement: Judgement) -> str:
        value = "-" if judgement.metric is None else f"{judgement.metric:.3f}"
        return f"{self.judge.metric} {value}, loss {judgement.loss:.3f}"

    def _finish(self, stage: NetworkStage, spec: NetworkSpec, number: int) -> Candidate | None:
        """Train a network on all folds, or on all training rows; None without a budget for it."""
        options = self.config.recipe
        rows = stage.trial_rows if self.folds.is_crossed else len(self.dataset.split_rows[TRAIN])
        spec = with_steps(spec, rows, options.epochs, options.batch_size, FOLD_STEPS)
        epoch = spec_work(replace(spec, recipe=replace(spec.recipe, epochs=1)), rows)
        if self.folds.is_crossed:
            trainings = len(self.folds.parts)
            fewest = with_steps(spec, rows, options.epochs, options.batch_size, MIN_FOLD_STEPS)
            epochs = min(spec.recipe.epochs, int(self.budget.left / (epoch * trainings)))
            if epochs < fewest.recipe.epochs:
                return None
            self.budget.take(epoch * epochs * trainings)
            return stage.cross_fit(replace(spec, recipe=replace(spec.recipe, epochs=epochs)))
        epochs = max(spec.recipe.epochs, min(_MAX_EPOCHS, int(self.budget.left / epoch)))
        epochs = min(epochs, options.epochs)
        self.budget.take(epoch * epochs)
        spec = replace(spec, recipe=replace(spec.recipe, epochs=epochs, patience=options.patience))
        return stage.fit_whole(spec, self.compute, self.checkpoint.slot(number))

    def _is_hopeless(self, judgement: Judgement, rival: np.ndarray) -> bool:
        """Whether a network is clearly worse in its trial than the best other model there.

        A trial on some of the rows only does not tell what all of them would give.
        """
        if not self.folds.is_crossed:
            return False
        part = self.folds.parts[0]
        return judgement.loss > _HOPELESS * self.judge.judge(rival[part], part).loss

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline
