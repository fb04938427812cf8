from tests.crash.disk import Operation, tree_after_crash


def crash(operations, *, survives=(), before=None):
    return tree_after_crash(
        before or {}, operations, lambda number: number in survives, lambda content: b"torn"
    )


REPLACE = [
    Operation("create", ".a.tmp", 1),
    Operation("write", ".a.tmp", 1, b"new"),
    Operation("rename", ".a.tmp", 1, target="a"),
]


def test_a_rename_without_syncs_may_be_lost_or_torn():
    assert crash(REPLACE, before={"a": b"old"}) == {"a": b"old"}
    assert crash(REPLACE, before={"a": b"old"}, survives={0}) == {".a.tmp": b"torn", "a": b"old"}
    assert crash(REPLACE, before={"a": b"old"}, survives={2}) == {"a": b"torn"}


def test_a_synced_file_is_whole_and_a_synced_folder_has_it():
    sync_file = Operation("sync_file", ".a.tmp", 1, b"new")
    operations = [*REPLACE[:2], sync_file, REPLACE[2]]
    assert crash(operations, survives={3}) == {"a": b"new"}
    assert crash([*operations, Operation("sync_folder", "")]) == {"a": b"new"}


def test_a_file_is_lost_with_a_folder_that_is_not_synced():
    operations = [
        Operation("make_folder", "folder"),
        Operation("create", "folder/a", 1),
        Operation("sync_file", "folder/a", 1, b"new"),
        Operation("sync_folder", "folder"),
    ]
    assert crash(operations) == {}
    assert crash([*operations, Operation("sync_folder", "")]) == {
        "folder": None,
        "folder/a": b"new",
    }


def test_a_removal_without_a_sync_may_be_undone():
    before = {"folder": None, "folder/a": b"1", "b": b"2"}
    operations = [Operation("remove", "folder/a"), Operation("remove_folder", "folder")]
    assert crash(operations, before=before) == before
    assert crash(operations, before=before, survives={1}) == {"b": b"2"}
    assert crash([*operations, Operation("sync_folder", "folder")], before=before) == {
        "b": b"2",
        "folder": None,
    }
