from mmfeat.records.split_names import SPLIT_NAMES, SPLITS, split_of_folder


def test_folders_of_splits():
    names = ["train", "Training", "VAL", "valid", "Validation", "dev", "Test"]
    assert [split_of_folder(name) for name in names] == ["train"] * 2 + ["val"] * 4 + ["test"]
    assert {split_of_folder(name) for name in ("trains", "", "cat", "test ")} == {None}


def test_all_names_map_to_a_split():
    assert set(SPLIT_NAMES.values()) == set(SPLITS)
