"""Records with several texts and images: each feature column reads one slot."""

import json

import pytest

from mmfeat.features import FeatureStore

FLAGS = {
    "title": ("--text-column", "title"),
    "desc": ("--text-column", "desc=description"),
    "front": ("--image-column", "file_name"),
    "back": ("--image-column", "back=back"),
}


@pytest.fixture
def table(picture, make_table):
    """Ten records with two texts and two images. Records 3 to 6 lack some of them."""
    rows = [
        {
            "file_name": f"{number}.png",
            "back": "" if number == 3 else f"b{number}.png",
            "title": "" if number == 4 else f"title {number}",
            "description": "" if number in (4, 5) else f"about {number * 7}",
        }
        for number in range(10)
    ]
    path = make_table(rows)
    for number in range(10):
        (path.parent / f"b{number}.png").write_bytes(picture((number * 20, 255, number)))
    (path.parent / "6.png").unlink()
    return path


@pytest.fixture
def make_shards(mmfeat, table, tmp_path):
    """Shards the table with some of its columns, or with the given flags."""

    def make(name, *flags):
        flags = [argument for flag in flags for argument in FLAGS.get(flag, (flag,))]
        result = mmfeat("shard", table, tmp_path / name, *flags)
        assert result.returncode == 0, result.stderr
        return tmp_path / name

    return make


@pytest.fixture
def extract(mmfeat, tmp_path):
    """Extracts shards with some encoders; returns the exit code, the output and the errors."""

    def run(shards, *encoders, to="features"):
        flags = [argument for encoder in encoders for argument in ("--encoder", encoder)]
        return mmfeat("extract", shards, tmp_path / to, *flags)

    return run


def read_column(folder, column):
    """Number of the input record → its feature, or the reason why it has none."""
    store = FeatureStore(str(folder))
    rows = store.read_samples("00000", ["input_row"])["input_row"].to_pylist()
    shard = store.read_column(column, "00000")
    values = zip(shard.features.tolist(), shard.reasons.to_pylist(), strict=True)
    return {row: reason or feature for row, (feature, reason) in zip(rows, values, strict=True)}


def missing(column):
    return {row: value for row, value in column.items() if isinstance(value, str)}


def test_a_column_reads_its_slot_and_no_other(make_shards, extract, tmp_path):
    encoders = [
        "text=builtin:text", "desc:text.desc=builtin:text",
        "image=builtin:image", "back:image.back=builtin:image",
    ]  # fmt: skip
    result = extract(make_shards("both", "title", "desc", "front", "back"), *encoders)
    assert result.returncode == 0, result.stderr
    columns = {n: read_column(tmp_path / "features", n) for n in ("text", "desc", "image", "back")}
    assert {name: missing(column) for name, column in columns.items()} == {
        "text": {4: "missing"},
        "desc": {4: "missing", 5: "missing"},
        "image": {6: "not_found"},
        "back": {3: "missing"},
    }
    # Each equals the column of a store that has no other text and image.
    for source, encoder, column in (
        ("--text-column=title", "text=builtin:text", "text"),
        ("--text-column=description", "text=builtin:text", "desc"),
        ("--image-column=back", "image=builtin:image", "back"),
    ):
        extract(make_shards(f"only_{column}", source), encoder, to=f"of_{column}")
        name = encoder.partition("=")[0]
        assert read_column(tmp_path / f"of_{column}", name) == columns[column]


def test_every_slot_has_a_column_by_default(make_shards, extract, tmp_path):
    shards = make_shards("both", "title", "desc", "front", "back")
    assert extract(shards).returncode == 0
    store = FeatureStore(str(tmp_path / "features"))
    assert {name: column.slot for name, column in store.columns.items()} == {
        "image": "image", "image_back": "image.back", "text": "text", "text_desc": "text.desc",
    }  # fmt: skip
    assert len(set(map(str, read_column(tmp_path / "features", "text_desc").values()))) == 9


def test_a_modality_with_several_slots_is_ambiguous(make_shards, extract, tmp_path):
    shards = make_shards("both", "title", "desc", "front")
    result = extract(shards, "desc:text=builtin:text")
    assert result.returncode == 1
    assert "several slots of text (text, text.desc)" in result.stderr
    assert "Write desc:text.=… or desc:text.desc=…" in result.stderr
    assert not (tmp_path / "features").exists()


@pytest.mark.parametrize(
    ("encoder", "column", "slot"),
    [
        ("text=builtin:text", "text", "text"),
        ("title:text.=builtin:text", "title", "text"),
        ("text.desc=builtin:text", "text_desc", "text.desc"),
        ("words:text.DESC=builtin:text", "words", "text.desc"),
        ("picture=builtin:image", "picture", "image"),
    ],
)
def test_spellings_of_a_slot(make_shards, extract, tmp_path, encoder, column, slot):
    result = extract(make_shards("both", "title", "desc", "front"), encoder)
    assert result.returncode == 0, result.stderr
    assert FeatureStore(str(tmp_path / "features")).columns[column].slot == slot


def test_a_slot_in_upper_case_is_found(make_shards, extract, tmp_path):
    shards = make_shards("both", "title", "--text-column=Desc=description", "front")
    assert extract(shards, "text.desc=builtin:text").returncode == 0
    assert missing(read_column(tmp_path / "features", "text_desc")) == {4: "missing", 5: "missing"}


def test_the_only_slot_of_a_modality_needs_no_name(make_shards, extract, tmp_path):
    shards = make_shards("one", "desc", "front")
    result = extract(shards, "text=builtin:text", "words:text=builtin:text?dim=64")
    assert result.returncode == 0, result.stderr
    slots = {n: c.slot for n, c in FeatureStore(str(tmp_path / "features")).columns.items()}
    assert slots == {"text": "text.desc", "words": "text.desc"}


def test_an_unknown_slot_lists_the_slots(make_shards, extract):
    result = extract(make_shards("one", "title", "front"), "desc:text.desc=builtin:text")
    assert result.returncode == 1
    assert "column desc needs text.desc, but the shards have only image, text" in result.stderr


def test_another_slot_under_the_same_column_is_refused(make_shards, extract):
    shards = make_shards("both", "title", "desc", "front")
    assert extract(shards, "a:text.=builtin:text").returncode == 0
    result = extract(shards, "a:text.desc=builtin:text")
    assert result.returncode == 1
    assert "different: slot" in result.stderr


def test_a_single_slot_is_no_part_of_the_fingerprint(make_shards, extract, tmp_path):
    extract(make_shards("one", "title", "front"), "text=builtin:text", to="f_one")
    extract(make_shards("both", "title", "desc", "front"), "text=builtin:text", to="f_both")
    one, both = (FeatureStore(str(tmp_path / name)).columns["text"] for name in ("f_one", "f_both"))
    assert one == both
    assert "slot" not in one.encoder


def test_info_shows_the_slots(mmfeat, make_shards, extract, tmp_path):
    shown = extract(make_shards("both", "title", "desc"), "desc:text.desc=builtin:text").stdout
    assert "8 features of text.desc (4096 x float16" in shown
    assert "text.desc, 4096 x float16" in mmfeat("info", tmp_path / "features").stdout
    assert "text, text.desc" in mmfeat("info", tmp_path / "both").stdout


def test_where_and_require_take_slots(make_shards):
    shards = make_shards(
        "some", "title", "desc", "--where", 'text_desc.startswith("about 6")', "front"
    )
    assert manifest_totals(shards)["records"] == 1
    shards = make_shards("strict", "title", "desc", "front", "--require", "text,text.desc")
    assert manifest_totals(shards)["rejected"] == {
        "text:missing, text.desc:missing": 1, "text.desc:missing": 1,
    }  # fmt: skip


def test_slots_that_differ_in_case_only_are_refused(mmfeat, table, tmp_path):
    flags = ("--text-column", "a=title", "--text-column", "A=description")
    result = mmfeat("shard", table, tmp_path / "shards", *flags)
    assert result.returncode == 1
    assert "given twice for the same part" in result.stderr


def manifest_totals(store):
    return json.loads((store / "manifest.json").read_text())["totals"]
