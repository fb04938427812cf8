"""The winner of `mmfeat compare` beside scikit-learn's logistic regression, on the same features.

    python -m benchmarks.compare FEATURES --target label [--seeds 5] [--folder DIR]

The peer sees the columns one beside the other, zeros where a record lacks one: as they are with
C = 1, and standardised with the C that is best on validation. The last line is one JSON object.
"""

import argparse
import json
import tempfile
import warnings
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mmfeat.features.store import FeatureStore
from mmfeat.store import files
from mmfeat.system.console import show_summary
from training.compare.config import CompareConfig
from training.compare.grid import build_grid
from training.compare.run import compare
from training.compare.train_trials import train_config
from training.data.dataset import Dataset
from training.data.split_rule import TEST, TRAIN, VAL
from training.fit.resolve import choose_columns, open_dataset
from training.report import LEADERBOARD

PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


def main() -> None:
    """Run both and print what they reach."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("features")
    parser.add_argument("--target", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fusions", default="all")
    parser.add_argument("--pick", default="best", choices=["best", "cheapest-tied"])
    parser.add_argument("--folder", help="where the comparison is kept; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        config = CompareConfig(
            options.features,
            options.folder or temporary,
            options.target,
            fusions=options.fusions,
            seeds=options.seeds,
            pick=options.pick,
        )
        compare(config)
        table = pq.read_table(files.join(config.output, LEADERBOARD)).to_pylist()
        metrics = files.read_json(files.join(config.output, "winner", "metrics.json"))
    row = next(row for row in table if row["picked"])
    store = FeatureStore(options.features)
    columns = choose_columns(store, "")
    specs, _ = build_grid(columns, "concat", "mlp", "multiclass")
    dataset = open_dataset(train_config(config, specs[0], 0), store, columns, quiet=True)
    peers = logistic_regressions(dataset)
    figures: dict[str, Any] = {
        "winner": row["name"],
        "winner_test": metrics["test"]["accuracy"],
        "winner_mean": row["mean"],
        **peers,
        "vs_logistic_regression": metrics["test"]["accuracy"] - max(peers.values()),
        "test_rows": len(dataset.split_rows[TEST]),
    }
    show_summary("accuracy on the test split", figures)
    print(json.dumps(figures))


def logistic_regressions(dataset: Dataset) -> dict[str, float]:
    """Test accuracy of scikit-learn's logistic regression on concatenated features."""
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
                for c in PENALTIES
            ),
            key=lambda model: model.score(scaled[VAL], y[VAL]),
        )
    return {
        "scikit_learn_plain": float(plain.score(x[TEST], y[TEST])),
        "scikit_learn_tuned": float(tuned.score(scaled[TEST], y[TEST])),
    }


if __name__ == "__main__":
    main()
