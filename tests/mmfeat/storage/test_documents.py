"""Documents are checked before any of their values is used."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, TypedDict

import pytest

from mmfeat.errors import DamagedFileError
from mmfeat.storage import files, json_text
from mmfeat.storage.documents import (
    Count,
    FileName,
    Name,
    check_value,
    read_document,
    read_intact_document,
)

HOSTILE_NAMES = (
    "", ".", "..", ".hidden", "../x", "a/../b", "/etc/passwd", "a\\b", "a\0b", "a\n", "C:x", "a b",
    "http://x", "memory::a", "a::b", "*", "a?", "[a]", "~", "~root", "$HOME", "%2e%2e", "x" * 201,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A toy document."""

    name: Name
    files: dict[FileName, Count] = field(default_factory=dict)
    seconds: float = 0.0


class Whole(TypedDict):
    """Another one."""

    parts: list[Part]


def load_text(folder: str, text: bytes) -> Any:
    path = files.join(folder, "x.json")
    with files.create(path) as output:
        output.write(text)
    return read_document(path, dict[str, Any])


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_a_name_is_one_plain_component_of_a_path(name):
    with pytest.raises(DamagedFileError, match=r"x\.json is damaged: name: expected a plain name"):
        check_value({"name": name}, Part, "x.json")
    hostile = f"a/{name}"
    with pytest.raises(DamagedFileError, match="a key of files: expected a plain name") as caught:
        check_value({"name": "a", "files": {hostile: 1}}, Part, "x.json")
    assert caught.value.got in (hostile, f"{hostile[:100]}…")


@pytest.mark.parametrize("name", ["00000", "cats-007", "text_desc", "größe", "a.b", "_x", "-"])
def test_plain_names_are_accepted(name):
    value = {"name": name, "files": {f"{name}.arrow": 1, f"{name}/00000.arrow": 2}, "seconds": 1}
    assert check_value(value, Part, "x.json") == Part(name, value["files"], 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, r"parts\[0\]\.name: expected `str`, got `null`"),
        ({"files": {"a": -1}}, r"parts\[0\]\.files\[...\]: expected `int` >= 0"),
        ({"files": {"a": 10**30}}, r"parts\[0\]\.files\[...\]: expected `int` <= "),
        ({"files": {"a": 1.5}}, r"parts\[0\]\.files\[...\]: expected `int`, got `float`"),
        ({"files": {"a": True}}, r"parts\[0\]\.files\[...\]: expected `int`, got `bool`"),
        ({"seconds": "1"}, r"parts\[0\]\.seconds: expected `float`, got `str`; got '1'"),
    ],
)
def test_an_error_has_the_file_the_place_and_the_value(change, message):
    value = {"parts": [{"name": "a", **change}]}
    with pytest.raises(DamagedFileError, match=rf"x\.json is damaged: {message}"):
        check_value(value, Whole, "x.json")


def test_other_keys_are_kept_in_a_dictionary_and_ignored_by_a_dataclass():
    value = {"parts": [], "other": 1}
    assert check_value(value, Whole, "x.json") == value
    assert check_value({"name": "a", "other": 1}, Part, "x.json") == Part("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "must be JSON"),
        (b"", "must be JSON"),
        (b"\xff", "must be JSON"),
        (b"[" + b"9" * 5000 + b"]", "must be JSON"),
        (b"[" * 200_000, "at most 64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "at most 64 levels"),
        (b"null", "expected `object`, got `null`"),
        (b"[]", "expected `object`, got `array`"),
        (b'"\\ud800"', "must hold texts of valid characters"),
    ],
    ids=range(9),
)
def test_what_is_no_document_is_refused(folder, text, message):
    with pytest.raises(DamagedFileError, match=rf"x\.json .*{message}"):
        load_text(folder, text)
    assert read_intact_document(files.join(folder, "x.json"), dict[str, Any]) is None


def test_the_size_and_the_number_of_values_are_bounded(folder, monkeypatch):
    monkeypatch.setattr(json_text, "MAX_JSON_VALUES", 1000)
    assert len(load_text(folder, b'{"a": 1' + b" " * 2000 + b"}")) == 1
    with pytest.raises(DamagedFileError, match="at most 1,000 values"):
        load_text(folder, b'{"a": [' + b"[]," * 1000 + b"1]}")
    path = files.join(folder, "x.json")
    with pytest.raises(DamagedFileError, match="at most 100 bytes"):
        read_document(path, dict[str, Any], 100)
    assert read_document(files.join(folder, "y.json"), dict[str, Any]) is None


_THREADS = """
import sys, threading
from dataclasses import make_dataclass
from typing import Annotated, Literal, Optional, Union
from msgspec import Meta
from mmfeat.storage import check_value

sys.setswitchinterval(1e-6)
kinds = [
    Optional[dict[str, Union[int, str, None]]],
    Optional[Literal["a", "b"]],
    Optional[Annotated[int, Meta(ge=0)]],
]
for number in range(100):
    schema = make_dataclass(f"T{number}", [(f"f{i}", kinds[i % 3], None) for i in range(30)])
    barrier = threading.Barrier(4)
    def check():
        barrier.wait()
        assert check_value({"f1": "a"}, schema, "x").f1 == "a"
    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_may_use_a_new_type_at_the_same_time():
    """msgspec 0.22 crashes the process here if nothing waits for its description of a type."""
    program = [sys.executable, "-c", _THREADS]
    result = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
