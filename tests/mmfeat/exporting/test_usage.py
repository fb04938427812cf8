"""The commands that an export prints: a shell reads the path as one word."""

import subprocess

import pytest

from mmfeat.exporting.formats.array_files import ClipRetrievalFormat, NpyFormat
from mmfeat.exporting.formats.tables import ParquetFormat


def words(command):
    shell = ["sh", "-c", f"printf '%s\\n' {command}"]
    return subprocess.run(shell, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("path", ["plain", "w ö/ex npy; ls", "it's", 'a "b" $HOME `ls`'])
def test_paths_in_commands_are_quoted(path):
    arrays = NpyFormat.__new__(NpyFormat)
    arrays._folders = {"image": "image"}
    command = words(arrays.usage(path))
    assert command == ["autofaiss", "build_index", f"--embeddings={path}/image"]
    command = words(ClipRetrievalFormat.__new__(ClipRetrievalFormat).usage(path))
    assert command[2:] == [f"--embeddings_folder={path}", "--index_folder=INDEX"]
    query = words(ParquetFormat.__new__(ParquetFormat).usage(path))[2]
    quoted = path.replace("'", "''")
    assert query == f"FROM '{quoted}/data/*.parquet' LIMIT 5"
