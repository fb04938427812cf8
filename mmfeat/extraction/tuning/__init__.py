"""Choose the settings of an encoder before its column is started."""

from mmfeat.extraction.tuning.autotune import TUNING_RECORDS, TunedSettings, autotune
from mmfeat.extraction.tuning.deadly_members import drop_deadly_members

__all__ = ["TUNING_RECORDS", "TunedSettings", "autotune", "drop_deadly_members"]
