from training.fit.metrics_log import describe_epoch
from training.recipe import AdamWRecipe, LogisticRecipe

SHARED = {"metric": "accuracy", "seed": 0, "epochs": 50}
NETWORKS = [
    AdamWRecipe(**SHARED, lr=lr, weight_decay=0.01, batch_size=32, patience=10)
    for lr in (1e-4, 3e-4, 1e-3)
]


def test_an_epoch_says_which_candidate_and_how_good_it_is():
    metrics = {"epoch": 7, "val_accuracy": 0.8312, "train_seconds": 0.5}
    assert describe_epoch(NETWORKS, 1, metrics, 1000) == (
        "learning rate 2 of 3, epoch 7 of ≤ 50, validation accuracy 0.831, 2,000 rows/s"
    )


def test_one_candidate_is_not_counted_and_an_unknown_metric_is_left_out():
    metrics = {"epoch": 1, "val_accuracy": None}
    assert describe_epoch(NETWORKS[:1], 0, metrics, 1000) == "epoch 1 of ≤ 50"


def test_linear_models_have_candidates():
    recipes = [LogisticRecipe(**SHARED, inverse_penalty=c, standardised=False) for c in (1.0, 3.0)]
    assert describe_epoch(recipes, 0, {"epoch": 2}, 10).startswith("candidate 1 of 2, epoch 2 of ≤")
