"""Compare the winner of `mmfeat compare` with the logistic regression of scikit-learn.

    python -m benchmarks.compare FEATURES --target label [--seeds 5] [--folder DIR]

The logistic regression gets the concatenated columns, with zeros for missing features: unscaled
with C = 1, and standardized with the C that is best on validation. The last line of the output is
one JSON object.
"""

import argparse
import json
import warnings
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.harness.run import work_folder
from mmfeat.features import FeatureStore
from mmfeat.system import show_summary
from training.compare.config import CompareConfig
from training.compare.grid import build_grid
from training.compare.run import compare
from training.compare.train_trials import train_config
from training.data import TEST, TRAIN, VAL, Dataset
from training.fit.resolve import choose_columns, open_dataset
from training.report import LEADERBOARD

INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


def main() -> None:
    """Run both and print their test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("features", help="feature store")
    parser.add_argument("--target", required=True, help="column with the class of a record")
    parser.add_argument("--seeds", type=int, default=5, help="seeds per model (default: 5)")
    parser.add_argument("--fusions", default="all", help="fusions to compare (default: all)")
    parser.add_argument("--pick", default="best", choices=["best", "cheapest-tied"])
    parser.add_argument(
        "--folder", default="", help="folder to keep the comparison (default: a temporary folder)"
    )
    options = parser.parse_args()
    with work_folder(options.folder) as folder:
        config = CompareConfig(
            options.features,
            str(folder),
            options.target,
            fusions=options.fusions,
            seeds=options.seeds,
            pick=options.pick,
        )
        compare(config)
        leaderboard = pq.read_table(folder / LEADERBOARD).to_pylist()
        metrics = json.loads((folder / "winner" / "metrics.json").read_text())
    winner = next(row for row in leaderboard if row["picked"])
    store = FeatureStore(options.features)
    columns = choose_columns(store, "")
    specs, _ = build_grid(columns, "concat", "mlp", "multiclass")
    dataset = open_dataset(train_config(config, specs[0], 0), store, columns, quiet=True)
    peers = score_logistic_regressions(dataset)
    accuracy = metrics["test"]["accuracy"]
    result: dict[str, Any] = {
        "winner": winner["name"],
        "winner_test": accuracy,
        "winner_mean": winner["mean"],
        **peers,
        "vs_logistic_regression": accuracy - max(peers.values()),
        "test_rows": len(dataset.split_rows[TEST]),
    }
    show_summary("Accuracy on the test split", result)
    print(json.dumps(result))


def score_logistic_regressions(dataset: Dataset) -> dict[str, float]:
    """Return the test accuracy of the unscaled and of the tuned logistic regression."""
    x, y = {}, {}
    for split in (TRAIN, VAL, TEST):
        rows = dataset.split_rows[split]
        features, _ = dataset.features.take(rows)
        x[split] = np.concatenate([v.astype(np.float32) for v in features.values()], axis=1)
        y[split] = dataset.targets[rows]
    scaler = StandardScaler().fit(x[TRAIN])
    scaled = {split: scaler.transform(values) for split, values in x.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = LogisticRegression(max_iter=2000).fit(x[TRAIN], y[TRAIN])
        tuned = max(
            (
                LogisticRegression(C=c, max_iter=2000).fit(scaled[TRAIN], y[TRAIN])
                for c in INVERSE_PENALTIES
            ),
            key=lambda model: model.score(scaled[VAL], y[VAL]),
        )
    return {
        "scikit_learn_plain": float(plain.score(x[TEST], y[TEST])),
        "scikit_learn_tuned": float(tuned.score(scaled[TEST], y[TEST])),
    }


if __name__ == "__main__":
    main()
