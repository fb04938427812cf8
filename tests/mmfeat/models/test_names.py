import pytest

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import ALIGN, STANDALONE_MODELS
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.names import (
    COMBINATION_NAMES,
    FUSION_NAMES,
    STANDALONE_NAMES,
    check_model_names,
)


def test_the_names_are_those_of_the_registries():
    assert sorted(FUSION_NAMES) == sorted(FUSIONS.own)
    assert sorted(COMBINATION_NAMES) == sorted(COMBINATIONS.own)
    assert {*STANDALONE_NAMES} == {*STANDALONE_MODELS, ALIGN}


def test_unknown_names_are_errors_that_list_the_names():
    check_model_names(["gmu", "late"], ["mlp"])
    with pytest.raises(MmfeatError, match=r"fusion must be one of: .*got 'gmuu'.*'gmu'"):
        check_model_names(["gmuu"], [])
    with pytest.raises(MmfeatError, match=r"combination must be one of: add, .*got 'mpl'"):
        check_model_names([], ["mpl"])


def test_a_fusion_registered_in_this_process_is_known(monkeypatch):
    monkeypatch.setitem(FUSIONS.own, "mine", FUSIONS["sum"])
    check_model_names(["mine"], [])
