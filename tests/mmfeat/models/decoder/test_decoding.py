import math
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import DecoderLayers
from mmfeat.models.decoder.decoding import Generated, SpecialTokens, generate
from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.models.decoder.transformer import Context, Transformer

SPECIAL = SpecialTokens(pad=0, bos=1, eos=2)
VOCABULARY, WIDTH, LENGTH = 13, 16, 9


def make_decoder(crosses: bool = True, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    layers = DecoderLayers(
        layers=3, width=WIDTH, heads=4, prefix=2, vocabulary=VOCABULARY, max_length=LENGTH
    )
    decoder = Transformer(layers, dropout=0.3, crosses=crosses)
    with torch.no_grad():  # logits that differ clearly
        decoder.embedding.weight.mul_(30)
        decoder.positions.mul_(60)
    return decoder.eval()


def make_context(rows: int = 5, crosses: bool = True) -> Context:
    generator = torch.Generator().manual_seed(3)
    prefix = torch.randn(rows, 2, WIDTH, generator=generator)
    if not crosses:
        return Context(prefix)
    memory = torch.randn(rows, 4, WIDTH, generator=generator)
    mask = torch.tensor([[True, True, False, True]] * rows)
    return Context(prefix, memory, mask)


def select(context: Context, rows: slice) -> Context:
    memory = None if context.memory is None else context.memory[rows]
    return Context(
        context.prefix[rows], memory, None if context.mask is None else context.mask[rows]
    )


@torch.inference_mode()
def greedy_without_cache(decoder: Transformer, context: Context) -> list[list[int]]:
    texts = []
    for row in range(len(context.prefix)):
        tokens = [SPECIAL.bos]
        while len(tokens) <= LENGTH:
            logits = decoder(torch.tensor([tokens]), select(context, slice(row, row + 1)))[0, -1]
            logits[[SPECIAL.pad, SPECIAL.bos]] = -math.inf
            if len(tokens) == 1:
                logits[SPECIAL.eos] = -math.inf
            tokens.append(int(logits.argmax()))
            if tokens[-1] == SPECIAL.eos:
                break
        texts.append([token for token in tokens[1:] if token != SPECIAL.eos])
    return texts


def to_lists(generated: Generated) -> list[list[int]]:
    pairs = zip(generated.tokens.tolist(), generated.lengths.tolist(), strict=True)
    return [row[:length] for row, length in pairs]


@torch.inference_mode()
def run(decoder: object, context: Context, row_seeds=(), **options: object) -> Generated:
    return generate(
        decoder,
        context,
        SPECIAL,
        DecodingOptions(**options),
        LENGTH,
        row_seeds,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("crosses", [True, False])
def test_steps_with_a_cache_have_the_logits_of_the_whole_text(crosses):
    decoder, context = make_decoder(crosses), make_context(crosses=crosses)
    tokens = torch.randint(3, VOCABULARY, (5, LENGTH))
    with torch.inference_mode():
        whole = decoder(tokens, context)
        state = decoder.start(context)
        steps = [decoder.step(tokens[:, number], state) for number in range(LENGTH)]
    torch.testing.assert_close(torch.stack(steps, dim=1), whole, rtol=1e-4, atol=1e-4)


def test_a_position_does_not_read_later_tokens_nor_absent_feature_tokens():
    decoder, context = make_decoder(), make_context()
    tokens = torch.randint(3, VOCABULARY, (5, LENGTH))
    changed = tokens.clone()
    changed[:, 4:] = 3
    with torch.inference_mode():
        before = decoder(tokens, context)
        assert torch.equal(decoder(changed, context)[:, :4], before[:, :4])
        assert not torch.allclose(decoder(changed, context)[:, 4:], before[:, 4:])
        assert context.memory is not None
        context.memory[:, 2] = 1e4  # is masked
        torch.testing.assert_close(decoder(tokens, context), before)
        context.memory[:, 1] += 1
        assert not torch.allclose(decoder(tokens, context), before)


@pytest.mark.parametrize("crosses", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_greedy_with_a_cache_writes_the_texts_without(crosses, seed):
    decoder, context = make_decoder(crosses, seed), make_context(crosses=crosses)
    expected = greedy_without_cache(decoder, context)
    assert to_lists(run(decoder, context)) == expected
    assert to_lists(run(decoder, context, decoding="beam", beams=1)) == expected


def test_log_probability_is_the_mean_over_the_tokens_and_the_end():
    decoder, context = make_decoder(seed=2), make_context()
    generated = run(decoder, context)
    for row, text in enumerate(to_lists(generated)):
        tokens = torch.tensor([[SPECIAL.bos, *text][:LENGTH]])
        with torch.no_grad():
            logits = decoder(tokens, select(context, slice(row, row + 1)))[0].double()
        logits[:, [SPECIAL.pad, SPECIAL.bos]] = -math.inf
        logits[0, SPECIAL.eos] = -math.inf
        targets = [*text, SPECIAL.eos][:LENGTH]
        steps = logits.log_softmax(dim=1)[range(len(targets)), targets]
        assert float(generated.log_probability[row]) == pytest.approx(float(steps.mean()), abs=1e-4)


class TableDecoder:
    """Logits by the tokens so far: a, the likely first token, has no likely text."""

    TABLE: ClassVar = {(): {3: 0.6, 4: 0.4}, (3,): {5: 0.4, 6: 0.3, 7: 0.3}, (4,): {5: 1.0}}

    def start(self, context: Context) -> "TableDecoder":
        self.texts: list[tuple[int, ...]] = [()] * len(context.prefix)
        return self

    def step(self, tokens: Tensor, state: object) -> Tensor:
        new = tokens.tolist()
        if new[0] != SPECIAL.bos or self.texts[0]:
            self.texts = [(*text, token) for text, token in zip(self.texts, new, strict=True)]
        logits = torch.full((len(new), VOCABULARY), -30.0)
        for row, text in enumerate(self.texts):
            for token, chance in self.TABLE.get(text, {SPECIAL.eos: 1.0}).items():
                logits[row, token] = math.log(chance)
        return logits

    def select(self, rows: Tensor) -> None:
        self.texts = [self.texts[row] for row in rows.tolist()]


def test_a_beam_finds_the_likelier_text_that_greedy_misses():
    context = make_context(rows=2, crosses=False)
    greedy = run(TableDecoder(), context)
    beam = run(TableDecoder(), context, decoding="beam", beams=3)
    assert to_lists(greedy) == [[3, 5]] * 2
    assert to_lists(beam) == [[4, 5]] * 2
    assert beam.log_probability.tolist() == pytest.approx([math.log(0.4) / 3] * 2, abs=1e-4)


def test_samples_depend_on_the_seed_and_the_row_only():
    decoder, context = make_decoder(), make_context()
    seeds = [11, 12, 13, 14, 15]
    options = {"decoding": "sample", "sampling_temperature": 2.0}
    texts = to_lists(run(decoder, context, seeds, **options))
    assert texts == to_lists(run(decoder, context, seeds, **options))
    part = select(context, slice(2, 4))
    assert to_lists(run(decoder, part, seeds[2:4], **options)) == texts[2:4]
    assert to_lists(run(decoder, context, seeds, sampling_seed=1, **options)) != texts


def test_samples_have_the_probabilities_of_the_decoder():
    context = make_context(rows=4000, crosses=False)
    generated = run(TableDecoder(), context, range(4000), decoding="sample")
    first = generated.tokens[:, 0]
    assert float((first == 3).float().mean()) == pytest.approx(0.6, abs=0.03)
    cold = run(TableDecoder(), context, range(4000), decoding="sample", sampling_temperature=0.01)
    assert bool((cold.tokens[:, 0] == 3).all())


@pytest.mark.parametrize("decoding", ["greedy", "beam", "sample"])
def test_lengths_stay_within_their_bounds(decoding):
    decoder, context = make_decoder(seed=1), make_context()
    seeds = range(5)
    long = run(decoder, context, seeds, decoding=decoding, min_tokens=6, max_tokens=8)
    assert bool(((long.lengths >= 6) & (long.lengths <= 8)).all())
    short = run(decoder, context, seeds, decoding=decoding, max_tokens=2)
    assert bool(((short.lengths >= 1) & (short.lengths <= 2)).all())
    assert long.tokens.shape == short.tokens.shape == (5, LENGTH)
    assert bool((short.tokens[:, 2:] == SPECIAL.pad).all())


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"beams": 0}, "--beams must be from 1 to 64"),
        ({"sampling_temperature": 0}, "--sampling-temperature must be from"),
        ({"sampling_temperature": math.nan}, "--sampling-temperature must be from"),
        ({"sampling_seed": -1}, "--sampling-seed must be from"),
        ({"min_tokens": -1}, "--min-tokens must not be negative"),
        ({"min_tokens": 5, "max_tokens": 4}, "--max-tokens must be at least"),
    ],
)
def test_impossible_options_are_refused(options, rule):
    with pytest.raises(MmfeatError, match=rule):
        DecodingOptions(**options)
