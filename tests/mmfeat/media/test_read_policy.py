import os
import posixpath
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.media import HttpSettings, MediaFetcher, ReadPolicy, check_protocols
from mmfeat.records import FileRef

LINKS = ("link.png", "chain.png", "linked/secret.png", "linked/../link.png", "./link.png")
OUTSIDE = ("../secret.png", "a/../../secret.png")
ABSOLUTE = ("{top}/secret.png", "{top}/t/../secret.png")
URLS = (
    "file://{top}/secret.png",
    "FILE://{top}/secret.png",
    "local://{top}/secret.png",
    "file://{top}/t/../secret.png",
    "file://{top}/t/link.png",
    "file://{top}/t/linked/secret.png",
)
CHAINS = (
    "zip://secret.png::{top}/secret.zip",
    "zip://secret.png::file://{top}/secret.zip",
    "ZIP://secret.png::FILE://{top}/t/inside.zip",
    "simplecache::file://{top}/secret.png",
    "filecache::file://{top}/secret.png",
    "blockcache::file://{top}/secret.png",
    "reference://secret.png::file://{top}/reference.json",
    "dir://secret.png::file://{top}",
    "memory://secret.png",
    "github://owner:project@main/secret.png",
    "ftp://127.0.0.1/secret.png",
    "sftp://127.0.0.1/secret.png",
    "s3://bucket/secret.png",
    "zip://secret.png::http://127.0.0.1/secret.zip",
    "simplecache::https://127.0.0.1/secret.png",
    "nosuch://secret.png",
)
NAMES = ("%2e%2e/secret.png", "file:{top}/secret.png", "file:../secret.png", "~/secret.png",
         "simplecache::{top}/secret.png")  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A folder of a table with a file inside, and links to a file outside."""
    top, folder = tmp_path, tmp_path / "t"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "inside.png").write_bytes(b"inside")
    (top / "secret.png").write_bytes(b"secret")
    (folder / "link.png").symlink_to(top / "secret.png")
    (folder / "chain.png").symlink_to("link.png")
    (folder / "linked").symlink_to(top)
    (folder / "alias.png").symlink_to("a/inside.png")
    for path in (top / "secret.zip", folder / "inside.zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("secret.png", b"secret")
    (top / "reference.json").write_text(f'{{"secret.png": ["{top}/secret.png"]}}')
    (top / "other").symlink_to("t")
    return folder


def fetch(policy, folder, path):
    """Fetch a file that a row of a table in a folder names."""
    fetcher = MediaFetcher(1000, HttpSettings(timeout=1, retries=0), policy)
    return fetcher.fetch(FileRef(policy.complete_path(str(folder), path)))


def fill(path, folder):
    return path.replace("{top}", str(folder.parent))


@pytest.mark.parametrize("path", [*LINKS, *OUTSIDE, *URLS, *CHAINS])
def test_files_outside_the_folder_are_refused_in_every_spelling(folder, path):
    policy = ReadPolicy(folders=(str(folder),))
    with pytest.raises(RecordError) as caught:
        fetch(policy, folder, fill(path, folder))
    assert caught.value.reason == "outside"


@pytest.mark.parametrize("path", NAMES)
def test_names_that_look_like_spellings_are_plain_names(folder, monkeypatch, path):
    monkeypatch.chdir(folder)
    for root in (str(folder), ""):
        with pytest.raises(RecordError) as caught:
            fetch(ReadPolicy(folders=(root,)), root, fill(path, folder))
        assert caught.value.reason == "not_found" or path.startswith("file:..")


@pytest.mark.parametrize(
    "path",
    ["a/inside.png", "a/../a/inside.png", "../t/a/inside.png", "alias.png", "linked/t/alias.png",
     "{top}/t/a/inside.png", "{top}/other/a/inside.png", "file://{top}/t/alias.png",
     "LOCAL://{top}/other/alias.png", "{top}/t/../t/a/inside.png"],
)  # fmt: skip
def test_files_in_the_folder_are_read_in_every_spelling(folder, path):
    for root in (folder, folder.parent / "other"):
        policy = ReadPolicy(folders=(str(root),))
        assert fetch(policy, root, fill(path, folder)) == b"inside"


@pytest.mark.parametrize("flags", [{"allow_outside": True}, {"allow_protocols": ("file",)}])
@pytest.mark.parametrize("path", [*LINKS, *OUTSIDE, *URLS])
def test_a_flag_permits_all_local_files(folder, path, flags):
    assert fetch(ReadPolicy(**flags), folder, fill(path, folder)) == b"secret"
    assert fetch(ReadPolicy(**flags, folders=(str(folder),)), folder, fill(path, folder))


@pytest.mark.parametrize("path", ABSOLUTE)
def test_a_table_on_the_disk_may_name_files_by_their_absolute_paths(folder, path):
    policy = ReadPolicy(folders=(str(folder),))
    assert fetch(policy, folder, fill(path, folder)) == b"secret"
    with pytest.raises(RecordError, match="outside"):
        policy.complete_path("s3://bucket/t", fill(path, folder))


def test_a_chain_needs_all_its_protocols(folder):
    path = fill("zip://secret.png::file://{top}/secret.zip", folder)
    for protocols in ((), ("zip",), ("file",)):
        with pytest.raises(RecordError, match="--allow-protocol"):
            ReadPolicy(protocols).complete_path(str(folder), path)
    assert fetch(ReadPolicy(("zip", "file")), folder, path) == b"secret"


@pytest.mark.parametrize("path", ["zip://a.png::http://x/a.zip", "simplecache::https://x/a.png"])
def test_no_chain_reads_from_a_web_server(path):
    policy = ReadPolicy(("zip", "simplecache", "http", "https"), allow_outside=True)
    with pytest.raises(RecordError, match="web server"):
        policy.complete_path("t", path)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("x/y.png", True),
        ("x/../y.png", True),
        ("s3://b/t/y.png", True),
        ("S3A://b/t/y.png", True),
        ("https://h/y.png", True),
        ("../y.png", False),
        ("%2e%2e/y.png", False),
        ("x/a::file:///etc/passwd", False),
        ("x/a::b.png", False),
        ("s3://b/y.png", False),
        ("s3://b/t/../y.png", False),
        ("s3://b/t/%2e%2e/y.png", False),
        ("s3://b/t", False),
        ("s3://b/table.png", False),
        ("s3://other/t/y.png", False),
        ("s3://b/t/a::b.png", False),
        ("gs://b/t/y.png", False),
        ("/etc/passwd", False),
        ("file:///etc/passwd", False),
    ],
)
def test_tables_in_a_storage_name_files_of_their_folder(path, allowed):
    if allowed:
        ReadPolicy().complete_path("s3://b/t", path)
    else:
        with pytest.raises(RecordError, match="outside"):
            ReadPolicy().complete_path("s3://b/t", path)
    own = path.lower().startswith(("s3", "..", "%2e")) and "::" not in path
    for policy in (ReadPolicy(allow_outside=True), ReadPolicy(("s3",))):
        if own or allowed:
            policy.complete_path("s3://b/t", path)
        else:
            with pytest.raises(RecordError, match="outside"):
                policy.complete_path("s3://b/t", path)


def test_complete_paths_start_at_the_folder():
    policy = ReadPolicy()
    assert policy.complete_path("s3://b/t", "x/../y.png") == "s3://b/t/y.png"
    assert policy.complete_path("", "x.png") == "x.png"
    assert policy.complete_path("raw", "x::y.png") == "raw/x::y.png"
    assert policy.complete_path("https://h/t", "../x.png") == "https://h/t/../x.png"


@settings(deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "a", "b.png", "", "...", "a..b"]), min_size=1))
def test_complete_paths_stay_in_the_folder(names):
    path = "/".join(names)
    full = posixpath.normpath(posixpath.join("/data/root", path))
    if full == "/data/root" or path.startswith("/"):
        return  # no file, or named by its absolute path
    if full.startswith("/data/root/"):
        complete = ReadPolicy().complete_path("/data/root", path)
        assert posixpath.normpath(complete) == full
    else:
        with pytest.raises(RecordError, match="outside"):
            ReadPolicy().complete_path("/data/root", path)
    complete = ReadPolicy(allow_outside=True).complete_path("/data/root", path)
    assert posixpath.normpath(complete) == full


def test_a_link_that_is_swapped_after_the_check_is_not_read(folder, monkeypatch):
    link = folder / "swapped.png"
    link.symlink_to("a/inside.png")
    readlink = os.readlink

    def swap(name):
        target = readlink(name)
        link.unlink()
        link.symlink_to(folder.parent / "secret.png")
        return target

    monkeypatch.setattr("os.readlink", swap)
    assert fetch(ReadPolicy(folders=(str(folder),)), folder, "swapped.png") == b"inside"


def test_without_proc_links_are_resolved_by_name(folder, monkeypatch):
    monkeypatch.setattr("mmfeat.media.read_policy._HAS_OPEN_FILES_IN_PROC", False)
    policy = ReadPolicy(folders=(str(folder),))
    assert fetch(policy, folder, "alias.png") == b"inside"
    with pytest.raises(RecordError, match="outside"):
        fetch(policy, folder, "link.png")


@pytest.mark.parametrize("path", [*URLS[-2:], *CHAINS])
def test_a_changed_plan_reads_no_file_outside(folder, path):
    policy = ReadPolicy(folders=("s3://b/t", str(folder)))
    with pytest.raises(RecordError) as caught:
        MediaFetcher(1000, policy=policy).fetch(FileRef(fill(path, folder)))
    assert caught.value.reason == "outside"
    policy.check_url("s3://b/t/a.png")


def test_folders_that_a_user_names_may_have_links(folder, monkeypatch):
    fetcher = MediaFetcher(1000)
    monkeypatch.chdir(folder)
    assert fetcher.fetch(FileRef("file://link.png")) == b"secret"
    assert fetcher.fetch(FileRef(str(folder / "link.png"))) == b"secret"


def test_protocols_have_one_name():
    assert check_protocols(["S3", "gcs", "local"]) == ("s3", "gs", "file")


def test_unknown_protocols_are_refused():
    with pytest.raises(MmfeatError, match="Did you mean 'sftp'"):
        check_protocols(["sfttp"])
