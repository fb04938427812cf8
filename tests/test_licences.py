"""The list of the licences of all dependencies, in docs/licences.md.

Write it with: make licences
"""

import re
from importlib.metadata import PackageNotFoundError, metadata

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "licences.md"
START = "| package | licence |\n| --- | --- |\n"
OTHER_SYSTEMS = "Not installed on Linux, so not in the table: "
MAX_CHARACTERS = 60
"""Longer texts are the whole licence, not its name."""


def pinned_names():
    text = (REPOSITORY / "constraints.txt").read_text("utf-8")
    return sorted(set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", text, re.MULTILINE)))


def licence_of(name):
    """Return the licence that the metadata of a package names."""
    facts = metadata(name)
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in facts.get_all("Classifier", [])
        if text.startswith("License :: ") and not text.endswith("OSI Approved")
    ]
    field = (facts["License"] or "").strip()
    named = field if "\n" not in field and len(field) <= MAX_CHARACTERS else ""
    return facts["License-Expression"] or ", ".join(classifiers) or named or "see the package"


def table_rows(text):
    return dict(re.findall(r"^\| \[?([\w.-]+?)\]?(?:\(\S+\))? \| (.+) \|$", text, re.MULTILINE))


def write_page():
    """Write the table after the text above it."""
    rows, missing = [], []
    for name in pinned_names():
        try:
            rows.append(f"| {name} | {licence_of(name)} |\n")
        except PackageNotFoundError:
            missing.append(name)
    head = PAGE.read_text("utf-8").partition(START)[0]
    PAGE.write_text(
        f"{head}{START}{''.join(rows)}\n{OTHER_SYSTEMS}{', '.join(missing)}.\n", "utf-8"
    )


def test_every_dependency_has_its_licence_in_the_docs():
    text = PAGE.read_text("utf-8")
    others = text.partition(OTHER_SYSTEMS)[2].strip(".\n").split(", ")
    listed = table_rows(text.partition(START)[2]).keys() | set(others)
    assert sorted(listed) == pinned_names(), "run `make licences`"


def test_no_licence_in_the_docs_is_outdated():
    for name, licence in table_rows(PAGE.read_text("utf-8").partition(START)[2]).items():
        try:
            assert licence == licence_of(name), f"{name}: run `make licences`"
        except PackageNotFoundError:
            continue  # an extra that is not installed here


if __name__ == "__main__":
    write_page()
