"""The usual webdataset loop: python benchmarks/sharders/shard_writer.py TABLE OUTPUT."""

import csv
import sys
from pathlib import Path

from webdataset import ShardWriter


def main(table: Path, output: Path) -> None:
    """Write shards from a table of file_name and text, without any check."""
    with (
        table.open(newline="", encoding="utf-8") as file,
        ShardWriter(f"{output}/%05d.tar", maxcount=1000, verbose=0) as writer,
    ):
        for row in csv.DictReader(file):
            path = table.parent / row["file_name"]
            sample = {"__key__": path.stem, "jpg": path.read_bytes(), "txt": row["text"]}
            writer.write(sample | {"json": row})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
