"""Names of fusions and combinations, for checks that must not load torch.

They are those of `FUSIONS`, `COMBINATIONS` and `STANDALONE_MODELS`; a test compares them.
"""

import sys
from collections.abc import Iterable
from typing import Any

from mmfeat.errors import check_choice
from mmfeat.plugins import Registry, is_path

FUSION_NAMES = tuple(
    "align_hadamard co_attention concat concat_had cross film fusion_transformer gmu hadamard lmf "
    "mfb mlb mod_scalar resampler seed_literal seed_sigmoid single sum tfn".split()
)
STANDALONE_NAMES = ("late", "late_stacked", "logistic", "ridge", "align")
COMBINATION_NAMES = ("add", "bilinear", "linear", "mlp")


def check_model_names(fusions: Iterable[str], combinations: Iterable[str]) -> None:
    """Check that there are fusions and combinations of these names. Imports no plug-in.

    A name of the form `MODULE:NAME` is checked when it is imported.

    Raises:
        MmfeatError: there is none of a name; the message lists the names.
    """
    known = _registry("mmfeat.models.fusion.registry", "FUSIONS", "mmfeat.fusions", FUSION_NAMES)
    for name in fusions:
        if name not in known and not is_path(name):
            choices = [*known, *STANDALONE_NAMES]
            check_choice("fusion", name, choices)
    known = _registry(
        "mmfeat.models.combination", "COMBINATIONS", "mmfeat.combinations", COMBINATION_NAMES
    )
    for name in combinations:
        if name not in known and not is_path(name):
            check_choice("combination", name, known)


def _registry(module: str, attribute: str, group: str, names: Iterable[str]) -> Registry[Any]:
    """Return a registry, or one of its names if its module is not loaded.

    A loaded one may have more names, which were registered in this process.
    """
    loaded = sys.modules.get(module)
    found = getattr(loaded, attribute, None)
    return found if found is not None else Registry(group, dict.fromkeys(names))
