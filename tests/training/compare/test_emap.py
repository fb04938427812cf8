import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.inference import run_model
from tests.training.stores import load
from training.compare import emap
from training.compare.emap import project, project_model, score_projection
from training.data.split_rule import TEST

DIM = 4


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrix products are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def all_present(**features):
    return features, {name: np.ones(len(values), bool) for name, values in features.items()}


def xor(rows, seed):
    """The label is whether image and text have different signs; one modality alone tells nothing.

    All four pairs of signs are equally frequent, because an uneven draw tilts the projection.
    """
    random = np.random.default_rng(seed)
    pairs = np.array([[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])
    signs = random.permutation(np.tile(pairs, rows // 4), axis=1)
    image, text = (0.2 * random.normal(size=(rows, DIM)) for _ in range(2))
    image[:, 0] += signs[0]
    text[:, 0] += signs[1]
    features, present = all_present(image=image.astype(np.float32), text=text.astype(np.float32))
    return features, present, (signs[0] != signs[1]).astype(np.int64)


def make_model(fusion, columns=("image", "text")):
    torch.manual_seed(0)
    dims = dict.fromkeys(columns, DIM)
    return build_model(
        Architecture(dims, 2, fusion, "linear", hidden=32, dropout=0.0, modality_dropout=0.0)
    )


def forward_of(model):
    return lambda features, present: run_model(model, features, present)[0]


@pytest.fixture(scope="module")
def gmu_of_xor():
    features, present, labels = xor(2000, 1)
    model = make_model("gmu")
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    inputs = [
        {name: torch.from_numpy(values) for name, values in columns.items()}
        for columns in (features, present)
    ]
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(model(*inputs)[0], torch.from_numpy(labels)).backward()
        optimizer.step()
    return forward_of(model)


def test_two_modalities_by_hand():
    def product(features, present):
        return features["a"] * features["b"]

    a, b = np.array([[1.0], [2.0]]), np.array([[3.0], [5.0]])
    result = project(product, *all_present(a=a, b=b))
    # Row 1: mean over b is 4, over a 4.5, over all 6. Row 2: 8 + 7.5 − 6.
    assert result.full.tolist() == [[3.0], [10.0]]
    assert result.additive == pytest.approx(np.array([[2.5], [9.5]]))


@pytest.mark.parametrize("fusion", ["sum", "concat"])
@pytest.mark.parametrize("names", [("image",), ("image", "text"), ("audio", "image", "text")])
def test_additive_model_equals_its_projection_with_gaps(fusion, names):
    fusion = "single" if len(names) == 1 else fusion
    random = np.random.default_rng(0)
    features = {name: random.normal(size=(60, DIM)).astype(np.float32) for name in names}
    present = {name: random.random(60) < 0.7 for name in names}
    result = project(forward_of(make_model(fusion, names)), features, present)
    assert np.ptp(result.full[:, 0]) > 0.1
    assert np.abs(result.additive - result.full).max() < 1e-5


def test_projected_gate_on_xor_is_at_chance(gmu_of_xor):
    features, present, labels = xor(300, 2)
    result = project(gmu_of_xor, features, present)
    assert (result.full.argmax(axis=1) == labels).mean() > 0.99
    # A lucky bias alone gets three pairs of four right. At the median of its scores, where half
    # the rows go to each class, an additive function is at 50 %.
    score = result.additive[:, 1] - result.additive[:, 0]
    assert abs(((score > np.median(score)) == labels).mean() - 0.5) < 0.08


def test_gate_on_xor_with_shuffled_text_is_at_chance(gmu_of_xor):
    features, present, labels = xor(2000, 3)
    order = np.random.default_rng(0).permutation(2000)
    logits = gmu_of_xor(features | {"text": features["text"][order]}, present)
    assert abs((logits.argmax(axis=1) == labels).mean() - 0.5) < 0.04


@given(st.integers(0, 1000), st.integers(1, 9), st.integers(2, 4))
def test_projecting_a_projection_changes_nothing(seed, rows, modalities):
    random = np.random.default_rng(seed)
    names = "abcd"[:modalities]
    features, present = all_present(**{name: np.arange(rows)[:, None] for name in names})
    table = random.normal(size=(rows,) * modalities)

    def model(features, present):
        return table[tuple(features[name][:, 0] for name in names)][:, None]

    first = project(model, features, present)
    parts = np.array(first.additive)[:, 0]

    def projected(features, present):
        # Any split of the projection over the modalities that adds up to it on the rows.
        return sum(parts[features[name][:, 0]] for name in names)[:, None] / modalities

    again = project(projected, features, present)
    assert again.additive == pytest.approx(first.additive)


@given(st.integers(0, 1000), st.integers(1, 9))
def test_projection_of_two_modalities_is_the_least_squares_fit(seed, rows):
    table = np.random.default_rng(seed).normal(size=(rows, rows))
    numbers = np.arange(rows)[:, None]

    def model(features, present):
        return table[features["a"][:, 0], features["b"][:, 0]][:, None]

    eye = np.eye(rows)
    design = np.concatenate([np.repeat(eye, rows, axis=0), np.tile(eye, (rows, 1))], axis=1)
    weights = np.linalg.lstsq(design, table.ravel(), rcond=None)[0]
    expected = (design @ weights).reshape(rows, rows).diagonal()
    result = project(model, *all_present(a=numbers, b=numbers))
    assert result.additive[:, 0] == pytest.approx(expected)


def test_presence_moves_with_its_modality():
    pairs = set()

    def model(features, present):
        columns = (features["a"][:, 0], present["a"], features["b"][:, 0], present["b"])
        pairs.update(zip(*columns, strict=True))
        return np.zeros((len(present["a"]), 1))

    numbers = np.arange(3)[:, None]
    present = {"a": np.array([True, False, True]), "b": np.array([True, True, False])}
    project(model, {"a": numbers, "b": numbers}, present)
    assert len(pairs) == 9
    for a, has_a, b, has_b in pairs:
        assert present["a"][a] == has_a
        assert present["b"][b] == has_b


@pytest.mark.parametrize(("modalities", "times"), [(2, 1), (3, 3)])
def test_cost_is_bounded_and_batches_change_nothing(monkeypatch, modalities, times):
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=(20, 2)) for name in "abc"[:modalities]}
    batches = []

    def model(features, present):
        batches.append(len(present["a"]))
        return np.prod(list(features.values()), axis=0)

    result = project(model, *all_present(**columns))
    assert sum(batches) == 20 + times * 20**2
    batches.clear()
    monkeypatch.setattr(emap, "PAIRS", 7)
    again = project(model, *all_present(**columns))
    assert max(batches[1:]) == 7
    assert np.allclose(again.additive, result.additive)


def test_score_uses_a_fixed_sample_of_the_test_rows(xor_store):
    dataset = load(xor_store)
    model = make_model("gmu")
    score = score_projection(model, dataset, "accuracy", max_rows=20)
    assert score.rows == 20 < len(dataset.split_rows[TEST])
    assert score == score_projection(model, dataset, "accuracy", max_rows=20)


def test_no_rows_is_an_error():
    with pytest.raises(ValueError, match="at least one row"):
        project(lambda f, p: np.zeros((0, 1)), *all_present(a=np.zeros((0, 1))))


@pytest.mark.parametrize("names", [("image", "text"), ("audio", "image", "text")])
@pytest.mark.parametrize(
    "fusion", ["gmu", "late", "late_stacked", "logistic", "fusion_transformer"]
)
def test_layers_of_one_column_run_once_per_record(fusion, names, monkeypatch):
    random = np.random.default_rng(0)
    features = {name: random.normal(size=(40, DIM)).astype(np.float32) for name in names}
    present = {name: random.random(40) < 0.7 for name in names}
    model = make_model(fusion, names).eval()
    for parameter in model.parameters():
        parameter.data.normal_()
    expected = project(forward_of(model), features, present)
    rows = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda f, p: rows.append(len(f["text"])) or encode(f, p))
    result = project_model(model, features, present)
    assert sum(rows) <= 512  # a single batch, padded for a linear model
    assert result.full == pytest.approx(expected.full, abs=1e-5)
    assert result.additive == pytest.approx(expected.additive, abs=1e-5)
