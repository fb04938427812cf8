"""Command-line options: dataclass fields as flags, YAML files."""

from mmfeat.config.flags import (
    FeaturesPath,
    InputPath,
    ModelPath,
    OutputPath,
    RepeatedFlag,
    ShardsPath,
    choose_names,
    flag_names,
    metavar,
    parse_args,
    parse_known_args,
    split_commas,
)
from mmfeat.config.make_config import make_config
from mmfeat.config.separate_paths import check_separate

__all__ = [
    "FeaturesPath",
    "InputPath",
    "ModelPath",
    "OutputPath",
    "RepeatedFlag",
    "ShardsPath",
    "check_separate",
    "choose_names",
    "flag_names",
    "make_config",
    "metavar",
    "parse_args",
    "parse_known_args",
    "split_commas",
]
