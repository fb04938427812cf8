"""The model of the task `describe`: fusion → prefix → decoder, with attention to feature tokens.

A prefix computed from a frozen encoder's features (Mokady et al. 2021, ClipCap, arXiv:2111.09734);
attention to the parts of a picture while the text grows (Xu et al. 2015, Show, Attend and Tell,
arXiv:1502.03044).
"""

from dataclasses import replace

import torch
import xxhash
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture, DecoderLayers
from mmfeat.models.base import Model
from mmfeat.models.decoder.decoding import SpecialTokens, generate
from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.models.decoder.language_model import LanguageModel
from mmfeat.models.decoder.packing import pack
from mmfeat.models.decoder.transformer import Context, Transformer
from mmfeat.models.fusion_model import FusionModel
from mmfeat.models.masks import as_tokens, hide_modalities


class DescriptionModel(Model):
    """Generates a text from the features of a record.

    The fusion and the combination give one vector; a linear layer makes the prefix of it. Each
    token of a token column is projected and attended to. If a modality is missing, the learned
    vector of its projection replaces it, as in every fusion; and a learned token takes part in the
    cross-attention, so that a record without tokens has something to attend to.

    Attributes:
        decoding: how texts are generated.
        batch_rows: rows of a forward pass; see `mmfeat.models.inference`.
    """

    batch_rows = 64

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        a, decoder = architecture, architecture.decoder
        assert decoder is not None
        self.layers: DecoderLayers = decoder
        self.special = SpecialTokens(decoder.pad, decoder.bos, decoder.eos)
        self.decoding = DecodingOptions()
        outputs = decoder.prefix * decoder.width
        self.conditioner = FusionModel(replace(a, outputs=outputs, decoder=None))
        self.token_columns = [] if decoder.language_model else list(a.tokens)
        self.memory = nn.Linear(a.hidden, decoder.width)
        self.memory_columns = nn.Parameter(torch.zeros(len(self.token_columns) + 1, decoder.width))
        self.prefix_norm = nn.LayerNorm(decoder.width)
        self.decoder: Transformer | LanguageModel
        if decoder.language_model:
            self.decoder = LanguageModel(decoder.language_model)
        else:
            self.decoder = Transformer(decoder, a.dropout, crosses=bool(self.token_columns))

    def encode(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Model.encode`: the projections, shape [batch, d] or [batch, tokens, d]."""
        return self.conditioner.encode(features, present)

    def forward_encoded(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward_encoded`. Returns texts in the layout of `packing.py`."""
        context, weights = self._context(encoded, present)
        generated = generate(
            self.decoder,
            context,
            self.special,
            self.decoding,
            self.layers.max_length,
            self._row_seeds(encoded, present) if self.decoding.decoding == "sample" else (),
        )
        return pack(generated), weights

    def next_token_logits(
        self, features: dict[str, Tensor], present: dict[str, Tensor], tokens: Tensor
    ) -> Tensor:
        """Return the logits of each token of given texts, as in training.

        Args:
            features, present: as for `Model.encode`.
            tokens: int64, shape [batch, length]: the texts, each with its end token, padded.

        Returns:
            Shape [batch, length, vocabulary].
        """
        if self.training and self.architecture.modality_dropout:
            chance = self.architecture.modality_dropout
            present = hide_modalities(self.columns, present, chance)
        context, _ = self._context(self.encode(features, present), present)
        bos = tokens.new_full((len(tokens), 1), self.special.bos)
        logits: Tensor = self.decoder(torch.cat([bos, tokens[:, :-1]], dim=1), context)
        return logits

    def _context(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Context, Tensor | None]:
        """Return the prefix and the memory, and the modality weights of the fusion."""
        vector, weights = self.conditioner.forward_encoded(encoded, present)
        prefix = self.prefix_norm(vector.unflatten(1, (self.layers.prefix, self.layers.width)))
        if not self.token_columns:
            return Context(prefix), weights
        batch = len(vector)
        tokens = [self.memory_columns[:1].expand(batch, 1, -1)]
        masks = [torch.ones(batch, 1, dtype=torch.bool, device=vector.device)]
        for number, column in enumerate(self.token_columns, 1):
            h, mask = as_tokens(encoded[column], present[column])
            tokens.append(self.memory(h) + self.memory_columns[number])
            masks.append(mask)
        return Context(prefix, torch.cat(tokens, dim=1), torch.cat(masks, dim=1)), weights

    def _row_seeds(self, encoded: dict[str, Tensor], present: dict[str, Tensor]) -> list[int]:
        """Return a number for each row that depends on its features only."""
        values = {c: encoded[c].detach().float().cpu().numpy() for c in self.columns}
        masks = {c: present[c].cpu().numpy() for c in self.columns}
        rows = len(masks[self.columns[0]])
        return [
            xxhash.xxh64_intdigest(
                b"".join(
                    part
                    for c in self.columns
                    for part in (values[c][row].tobytes(), masks[c][row].tobytes())
                )
            )
            for row in range(rows)
        ]
