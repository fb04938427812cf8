"""The description objective: a text, learned token by token."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mmfeat.models.architecture import DecoderLayers
from mmfeat.models.base import Model
from mmfeat.models.decoder.description_model import DescriptionModel
from mmfeat.models.decoder.language_model import LanguageModel
from mmfeat.models.decoder.packing import REFERENCE_LOSS
from mmfeat.models.decoder.text_codec import TextCodec, train_bpe
from mmfeat.models.tasks import Describe
from training.describe_options import DescribeOptions
from training.metrics import TEXT_METRICS, Metric, cider_scores, evaluate_texts
from training.objectives.base import LossFunction, Objective
from training.objectives.describe.pretrained_decoder import PretrainedDecoder, load_pretrained
from training.objectives.describe.teacher_forcing import TeacherForcing
from training.objectives.describe.text_outputs import generate_rows, reference_losses
from training.objectives.describe.text_rows import TextRows, clean_texts
from training.objectives.targets import read_target_cells
from training.recipe import Recipe

CIDER = "cider"

_PART_TEXTS = 4096

Features = Mapping[str, np.ndarray]


class DescribeObjective(Objective):
    """Targets are int64 numbers of texts (see `TextRows`); -1 if there is no target.

    A record may have several texts. The first one is learned, and all are references.

    Attributes:
        options: of the decoder.
        texts: the texts.
        codec: the tokens; None = a byte-level BPE is trained on the training rows.
        metric: the metric for model selection.
        read_slot: shard → key → text, if the target is a text slot of the shards; None = the
            target is a column of the samples table.
    """

    metrics: ClassVar = ("loss", "perplexity", CIDER)
    minimized: ClassVar = frozenset({"loss", "perplexity"})
    learning_rates: ClassVar = (1e-3,)

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.options = DescribeOptions()
        self.metric = self.metrics[0]
        self.texts = TextRows()
        self.codec: TextCodec | None = None
        self.read_slot: Callable[[str], Mapping[str, str]] | None = None
        self._tokens: Tensor | None = None
        self._pretrained: PretrainedDecoder | None = None

    @property
    def describe(self) -> Describe:
        """The task."""
        assert isinstance(self.task, Describe)
        return self.task

    @property
    def settings(self) -> dict[str, Any]:
        """See `Objective.settings`."""
        settings: dict[str, Any] = {"label_smoothing": self.options.label_smoothing}
        if self._pretrained:
            settings["language_model_weights"] = self._pretrained.sha256
        return settings

    @property
    def decoder_layers(self) -> DecoderLayers:
        """See `Objective.decoder_layers`."""
        options, codec = self.options, self.describe.codec
        if self._pretrained:
            return self._pretrained.layers(options.decoder_prefix, self.describe.max_length)
        return DecoderLayers(
            layers=options.decoder_layers,
            width=options.decoder_width,
            heads=options.heads,
            prefix=options.decoder_prefix,
            vocabulary=codec.size,
            max_length=self.describe.max_length,
            pad=codec.pad,
            bos=codec.bos,
            eos=codec.eos,
        )

    def initialize_model(self, model: Model) -> Model:
        """See `Objective.initialize_model`: the weights of the language model, if it is one."""
        if self._pretrained:
            assert isinstance(model, DescriptionModel)
            assert isinstance(model.decoder, LanguageModel)
            model.decoder.language_model.load_state_dict(self._pretrained.weights)
        return model

    @property
    def target_columns(self) -> list[str]:
        """See `Objective.target_columns`: none if the target is a text slot of the shards."""
        return [] if self.read_slot else [self.target]

    def read_targets(self, table: pa.Table) -> np.ndarray:
        """See `Objective.read_targets`."""
        cells = read_target_cells(table, self.target, self.null_labels)
        return self.texts.append([clean_texts(cell, self.target) for cell in cells])

    def read_shard_targets(self, table: pa.Table, shard: str) -> np.ndarray:
        """See `Objective.read_shard_targets`."""
        if self.read_slot is None:
            return self.read_targets(table)
        texts = self.read_slot(shard)
        cells = [texts.get(key) for key in table["__key__"].to_pylist()]
        cells = [None if cell in self.null_labels else cell for cell in cells]
        return self.texts.append([clean_texts(cell, self.target) for cell in cells])

    def has_target(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.has_target`."""
        return targets >= 0

    def fit_targets(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """See `Objective.fit_targets`: trains the tokens on the texts of the training rows."""
        if self.options.decoder:
            self._pretrained = load_pretrained(self.options.decoder)
            self.codec = self._pretrained.codec
        if self.codec is None:
            parts = (self._first_texts(part) for part in _parts(targets[training]))
            self.codec = train_bpe((t for part in parts for t in part), self.options.vocabulary)
        codec = self.codec
        rows: list[np.ndarray] = []
        for numbers in _parts(np.arange(len(self.texts))):
            for tokens in codec.encode(self._first_texts(numbers)):
                rows.append(np.array(tokens[: self.options.text_tokens], np.int32))
        length = max(1, max((len(row) for row in rows), default=1))
        padded = np.full((len(rows), length + 1), codec.pad, np.int32)
        for padded_row, row in zip(padded, rows, strict=True):
            padded_row[: len(row)] = row
            padded_row[len(row)] = codec.eos
        self._tokens = torch.from_numpy(padded)
        # The end token takes a position, too.
        task = Describe(length + 1, codec.sha256, null_labels=self.null_labels)
        self.task = task.with_codec(codec)
        return targets

    def _first_texts(self, numbers: np.ndarray) -> list[str]:
        return [texts[0] for texts in self.texts.take(numbers)]

    def build_loss(self, recipe: Recipe) -> LossFunction:
        """See `Objective.build_loss`: a `TeacherForcing`."""
        assert self._tokens is not None
        device = torch.empty(0).device  # the device of the training
        tokens = self._tokens.to(device)
        return TeacherForcing(tokens, self.describe.codec, self.options.label_smoothing)

    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """See `Objective.validate`; `logits` are those of `validation_outputs`."""
        names = self.metrics if self.metric == CIDER else self.metrics[:2]
        return {name: TEXT_METRICS[name](logits[:, 0], logits) for name in names}

    def validation_outputs(
        self, module: Model, targets: np.ndarray, parts: Iterable[tuple[Features, Features]]
    ) -> np.ndarray:
        """Return outputs for `validate`. Texts are generated only if CIDEr is the metric.

        Args:
            module: the model, on any device.
            targets: targets of the rows.
            parts: features and masks of the rows, in order.

        Returns:
            The loss of each reference and its tokens, and the CIDEr of the generated text if it is
            the metric: shape (rows, 2 or 3).
        """
        outputs = np.zeros((len(targets), 3 if self.metric == CIDER else 2), np.float32)
        texts: list[str] = []
        start = 0
        for features, present in parts:
            end = start + len(next(iter(present.values())))
            if self.metric == CIDER:
                texts += self.describe.to_texts(generate_rows(module, features, present))
            outputs[start:end, :2] = reference_losses(
                module, self.describe, features, present, self._reference_tokens(targets[start:end])
            )
            start = end
        if self.metric == CIDER:
            outputs[:, 2] = cider_scores(texts, self.texts.take(targets))
        return outputs

    def complete_outputs(
        self,
        module: Model,
        features: Features,
        present: Features,
        targets: np.ndarray,
        outputs: np.ndarray,
    ) -> np.ndarray:
        """See `Objective.complete_outputs`: the losses of the references."""
        tokens = self._reference_tokens(targets)
        outputs[:, REFERENCE_LOSS:] = reference_losses(
            module, self.describe, features, present, tokens
        )
        return outputs

    def _reference_tokens(self, numbers: np.ndarray) -> Tensor:
        """Return the tokens of the first text of each record, cut to the model's length."""
        codec, length = self.describe.codec, self.describe.max_length
        if self._tokens is not None:
            return self._tokens[torch.from_numpy(numbers)].long()
        tokens = torch.full((len(numbers), length), codec.pad)
        for row, text in enumerate(codec.encode(self._first_texts(numbers))):
            cut = text[: length - 1]
            tokens[row, : len(cut) + 1] = torch.tensor([*cut, codec.eos])
        return tokens

    def predict(self, logits: np.ndarray) -> np.ndarray:
        """See `Objective.predict`: the outputs for `validate`."""
        return logits

    def comparison_metric(self, name: str) -> Metric:
        """See `Objective.comparison_metric`."""
        return TEXT_METRICS[name]

    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """See `Objective.calibrate`: texts are not calibrated."""
        return {}

    def evaluate(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """See `Objective.evaluate`."""
        texts = self.describe.to_texts(scores)
        return evaluate_texts(texts, self.texts.take(targets), predict_losses(scores), present)

    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """See `Objective.row_losses`: the mean of -log p of the tokens of the reference."""
        losses = predict_losses(scores).astype(np.float64)
        return losses[:, 0] / losses[:, 1].clip(1)

    def to_arrow(self, targets: np.ndarray) -> pa.Array:
        """See `Objective.to_arrow`: texts, or lists of texts."""
        known = targets[targets >= 0]
        rows: list[list[str] | None] = [None] * len(targets)
        for row, texts in zip(np.flatnonzero(targets >= 0), self.texts.take(known), strict=True):
            rows[row] = texts
        if self.texts.has_lists:
            return pa.array(rows, pa.list_(pa.string()))
        return pa.array([None if row is None else row[0] for row in rows], pa.string())

    def least_squares_targets(self, targets: Tensor) -> Tensor:
        """See `Objective.least_squares_targets`: not defined."""
        raise NotImplementedError


def predict_losses(outputs: np.ndarray) -> np.ndarray:
    """Return the loss of each reference and its tokens, shape (rows, 2)."""
    return outputs[:, REFERENCE_LOSS:]


def _parts(numbers: np.ndarray) -> Sequence[np.ndarray]:
    return [numbers[i : i + _PART_TEXTS] for i in range(0, len(numbers), _PART_TEXTS)]
