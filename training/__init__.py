"""Training on extracted features. Start at `fit/train_model.py`."""

from mmfeat.import_path import drop_working_directory

drop_working_directory()
