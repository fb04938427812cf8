"""Train a model, with the fusion of the options or with the one that a search finds."""

from training.config import TrainConfig
from training.fit.train_model import train_model
from training.search.search_model import search_model


def train(config: TrainConfig) -> None:
    """Train a model and save it. A finished model is left as it is.

    Raises:
        MmfeatError: the features lack a column of the options, or the output holds another model.
    """
    if config.is_search:
        search_model(config)
    else:
        train_model(config)
