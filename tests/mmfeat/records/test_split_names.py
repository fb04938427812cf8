from mmfeat.records.split_names import SPLIT_NAMES, SPLITS, split_of_folder


def test_a_folder_is_a_split_whatever_its_case_and_dialect():
    names = ["train", "Training", "VAL", "valid", "Validation", "dev", "Test"]
    assert [split_of_folder(name) for name in names] == ["train"] * 2 + ["val"] * 4 + ["test"]
    assert {split_of_folder(name) for name in ("trains", "", "cat", "test ")} == {None}


def test_every_name_leads_to_one_of_the_three():
    assert set(SPLIT_NAMES.values()) == set(SPLITS)
