"""Tars and stores of shards, and the records that are read from them."""

import io
import tarfile

import pyarrow.parquet as pq

from mmfeat.records import Record, Sample
from mmfeat.shards.shard_table import ShardTable
from mmfeat.shards.tar_writer import TarWriter
from mmfeat.sources.registry import open_source
from mmfeat.storage import files


def write_tar(path, members, **links):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in links.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


def write_store(folder, samples, name="00000", kinds=None):
    """Write a shard as the sharding stage does."""
    table = ShardTable(("image", "text"), kinds or {"n": "int64"})
    with files.create(f"{folder}/{name}.tar") as output:
        tar = TarWriter(output)
        for sample in samples:
            if sample.members:
                tar.write(sample)
            table.append(sample, sample.status())
        tar.close()
    pq.write_table(table.to_arrow(), folder / f"{name}.parquet")


def sample(row, key, problems=None, **members):
    return Sample(Record(row, key, metadata={"n": row}), members, problems or {})


def records_of(path):
    return list(open_source(str(path)).records())


def reasons(record):
    return {slot: reason for slot, (reason, _) in record.problems.items()}
