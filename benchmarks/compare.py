"""Time `mmfeat compare`, and compare its winner with the logistic regression of scikit-learn.

    python -m benchmarks.compare FEATURES --target label [--seeds 5] [--folder DIR]
    python -m benchmarks.compare FEATURES --target label --baseline CHECKOUT

The logistic regression gets the concatenated columns, with zeros for missing features: unscaled
with C = 1, and standardized with the C that is best on validation. With `--baseline`, the same
command also runs in a checkout of another version, and the result says whether the winner is
tied with the best model of that one. The last line of the output is one JSON object.
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.harness.measure import run
from benchmarks.harness.run import work_folder
from mmfeat.features import FeatureStore
from mmfeat.system import show_summary
from training.columns import choose_columns
from training.compare.config import CompareConfig
from training.compare.grid import build_grid
from training.compare.train_trials import train_config
from training.data import TEST, TRAIN, VAL, Dataset
from training.fit.resolve import open_dataset
from training.report import LEADERBOARD

INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


def main() -> None:
    """Run all and print the times and the test accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("features", help="feature store")
    parser.add_argument("--target", required=True, help="column with the class of a record")
    parser.add_argument("--seeds", type=int, default=5, help="seeds per model (default: 5)")
    parser.add_argument("--fusions", default="all", help="fusions to compare (default: all)")
    parser.add_argument("--pick", default="best", choices=["best", "cheapest-tied"])
    parser.add_argument("--baseline", default="", help="checkout of another version to time")
    parser.add_argument(
        "--folder", default="", help="folder to keep the comparison (default: a temporary folder)"
    )
    options = parser.parse_args()
    with work_folder(options.folder) as folder:
        result: dict[str, Any] = {}
        if options.baseline:
            usage = time_compare(options, folder / "baseline", Path(options.baseline).resolve())
            result |= {f"baseline_{name}": value for name, value in usage.items()}
        result |= time_compare(options, folder / "comparison", Path.cwd())
        leaderboard = read_leaderboard(folder / "comparison")
        metrics = json.loads((folder / "comparison/winner/metrics.json").read_text())
        winner = next(row for row in leaderboard if row["picked"])
        if options.baseline:
            baseline = {row["name"]: row for row in read_leaderboard(folder / "baseline")}
            picked = next(row for row in baseline.values() if row["picked"])
            result["baseline_winner"] = picked["name"]
            result["baseline_mean"] = picked["mean"]
            result["winner_tied_in_baseline"] = baseline[winner["name"]]["tied"]
            result["baseline_winner_tied"] = next(
                row["tied"] for row in leaderboard if row["name"] == picked["name"]
            )
    store = FeatureStore(options.features)
    columns = choose_columns(store, "")
    config = CompareConfig(options.features, "", options.target)
    specs, _ = build_grid(columns, "concat", "mlp", "multiclass")
    dataset = open_dataset(train_config(config, specs[0], 0), store, columns, quiet=True)
    peers = score_logistic_regressions(dataset)
    accuracy = metrics["test"]["accuracy"]
    result |= {
        "models": len(leaderboard),
        "trials": sum(row["seeds"] for row in leaderboard),
        "winner": winner["name"],
        "winner_test": accuracy,
        "winner_mean": winner["mean"],
        **peers,
        "vs_logistic_regression": accuracy - max(peers.values()),
        "test_rows": len(dataset.split_rows[TEST]),
    }
    show_summary("Time, and accuracy on the test split", result)
    print(json.dumps(result))


def time_compare(options: argparse.Namespace, output: Path, checkout: Path) -> dict[str, float]:
    """Run `mmfeat compare` of a checkout; return its wall time and its processor time."""
    output.parent.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = str(checkout)
    command = [sys.executable, "-m", "mmfeat", "compare", os.path.abspath(options.features)]
    command += [str(output), "--target", options.target, "--fusions", options.fusions]
    command += ["--seeds", str(options.seeds), "--pick", options.pick]
    usage = run(command, output=str(output), folder=str(checkout), log=f"{output}.log")
    return {"seconds": usage.seconds, "processor_seconds": usage.processor_seconds}


def read_leaderboard(comparison: Path) -> list[dict[str, Any]]:
    """Read the rows of a leaderboard."""
    rows: list[dict[str, Any]] = pq.read_table(comparison / LEADERBOARD).to_pylist()
    return rows


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
