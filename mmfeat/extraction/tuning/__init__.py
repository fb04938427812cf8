"""Choose the settings of an encoder before its column is started."""

from mmfeat.extraction.tuning.autotune import autotune
from mmfeat.extraction.tuning.cache import TuningCache
from mmfeat.extraction.tuning.deadly_members import drop_deadly_members
from mmfeat.extraction.tuning.sample import TUNING_RECORDS
from mmfeat.extraction.tuning.settings import TunedSettings

__all__ = ["TUNING_RECORDS", "TunedSettings", "TuningCache", "autotune", "drop_deadly_members"]
