"""Linear models solved once for all folds equal those that are fitted fold by fold."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.linear import LinearModel
from training.search.linear.problem import LinearProblem, RidgePath, fit_logistic_path


def inputs(rows: int, dim: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(rows, 1, generator=generator) < 0.9
    x = nn.functional.normalize(torch.randn(rows, dim, generator=generator))
    other = nn.functional.normalize(torch.randn(rows, 3, generator=generator))
    everywhere = torch.ones(rows, 1, dtype=torch.bool)
    return [(torch.where(present, x, 0), present), (other, everywhere)]


@pytest.mark.parametrize("dim", [5, 60])
def test_left_out_blocks_equal_models_fitted_without_them(dim: int) -> None:
    problem = LinearProblem.prepare(inputs(40, dim))
    y = torch.randn(40, 2, generator=torch.Generator().manual_seed(1))
    parts = list(torch.arange(40).split(9))
    path = RidgePath.compute(problem.x, y, problem.eigenvalues)
    assert len(problem.eigenvalues) == problem.x.shape[1]
    for penalty in (0.1, 10.0):
        predictions = path.predict_left_out(penalty, parts)
        for part in parts:
            kept = np.setdiff1d(np.arange(40), part.numpy())
            weights, bias = RidgePath.compute(problem.x[kept], y[kept]).weights(penalty)
            torch.testing.assert_close(
                predictions[part], problem.x[part] @ weights + bias, rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("dim", [5, 60])
def test_a_solution_becomes_the_weights_of_a_model(dim: int) -> None:
    columns = inputs(40, dim)
    problem = LinearProblem.prepare(columns)
    y = torch.randn(40, 2, generator=torch.Generator().manual_seed(1))
    weights, bias = RidgePath.compute(problem.x, y, problem.eigenvalues).weights(3.0)
    model = LinearModel(Architecture({"a": dim, "b": 3}, outputs=2, fusion="ridge"))
    problem.fill(model, weights, bias)
    expected = problem.x @ weights + bias
    torch.testing.assert_close(model.compute_logits(columns), expected, rtol=1e-4, atol=1e-5)
    others = inputs(7, dim, seed=3)
    torch.testing.assert_close(
        model.compute_logits(others), problem.transform(others) @ weights + bias,
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_rotated_inputs_have_the_distances_of_the_features() -> None:
    problem = LinearProblem.prepare(inputs(30, 50))
    whole = torch.cat([x for x, _ in inputs(30, 50)], dim=1)
    flags = (~inputs(30, 50)[0][1]).float()
    whole = torch.cat([whole, flags], dim=1)
    torch.testing.assert_close(torch.cdist(problem.x, problem.x), torch.cdist(whole, whole),
                               rtol=1e-3, atol=1e-3)  # fmt: skip


def test_a_path_equals_scikit_learn_on_each_set_of_rows() -> None:
    from sklearn.linear_model import LogisticRegression

    problem = LinearProblem.prepare(inputs(60, 8))
    targets = torch.from_numpy(np.random.default_rng(0).integers(0, 3, 60))
    sets = [torch.arange(0, 60, 2), torch.arange(40)]
    loss = nn.functional.cross_entropy
    solutions = list(
        fit_logistic_path(
            problem.x, targets, 3, loss, [1.0, 30.0], sets, problem.eigenvalues, iterations=300
        )
    )
    for penalty, (weights, bias) in zip([1.0, 30.0], solutions, strict=True):
        for number, rows in enumerate(sets):
            reference = LogisticRegression(C=penalty, max_iter=5000, tol=1e-8)
            reference.fit(problem.x[rows].numpy(), targets[rows].numpy())
            logits = problem.x @ weights[:, number] + bias[number]
            np.testing.assert_allclose(
                logits.softmax(1), reference.predict_proba(problem.x.numpy()), atol=0.02
            )
