"""Training on extracted features. Start at `fit/train_model.py`."""
