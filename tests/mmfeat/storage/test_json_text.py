import json

from hypothesis import given
from hypothesis import strategies as st

from mmfeat.storage.json_text import object_pieces

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(st.dictionaries(st.text(), values, min_size=1))
def test_the_pieces_are_the_text_of_json(value):
    text = "".join(object_pieces(value)) + "\n}"
    assert text == json.dumps(value, ensure_ascii=False, indent=2)


def test_long_lists_have_many_pieces():
    value = {"shards": [{"name": f"{i:05d}", "records": i, "ok": True} for i in range(2500)]}
    pieces = list(object_pieces(value))
    assert max(map(len, pieces)) < 100_000
    assert "".join(pieces) + "\n}" == json.dumps(value, indent=2)
