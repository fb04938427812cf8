"""The options of `mmfeat shard`: their fields are the flags."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from mmfeat.config.flags import InputPath, OutputPath, RepeatedFlag, split_commas
from mmfeat.errors import MmfeatError
from mmfeat.media.fetch import Connection, ContentReader
from mmfeat.media.resize import PictureFormat, Reencoding, ResizeMode
from mmfeat.records.modalities import MODALITIES
from mmfeat.sharding.plan import Layout
from mmfeat.sharding.sample_reader import PartReader, Validation
from mmfeat.sharding.selection import Selection
from mmfeat.sources import InputOptions

_SHARD_NAME = re.compile(r"[A-Za-z0-9_-]*%0[1-9]d[A-Za-z0-9_-]*")


@dataclass
class ShardConfig:
    """Turn raw records into shards: WebDataset tars, with a table that accounts for each record.

    INPUT is a table (.csv, .tsv, .json, .jsonl, .parquet, also .gz and .zst) with columns of
    pictures, sounds or texts; a folder of them; or WebDataset tars to shard anew. Globs and braces
    name many files: 'part-{000..127}.parquet'. Flags not listed here go to Apache Beam, for
    example --runner=DataflowRunner.
    """

    input: InputPath
    """Table, folder or tars of the raw records."""
    output: OutputPath
    """Directory of the shards."""
    samples_per_shard: int = 1000
    """Records in one shard."""
    max_shard_bytes: int | None = None
    """Most bytes in one shard, as far as sizes are known before; needs a look at every file."""
    shard_name: str = "%05d"
    """Pattern of the shards' names."""
    shuffle: Literal["auto", "hash", "none"] = "auto"
    """Order of the records: by a hash of their key, so that any part of the store is a fair draw,
    or as they come. auto is hash, and none where a Parquet table holds the media themselves."""
    image_column: RepeatedFlag = ()
    """Column of pictures: paths, URLs, bytes or base64; found by its name when not given
    (file_name, image, …). NAME=COLUMN makes it a further picture, KEY.NAME.jpg."""
    audio_column: RepeatedFlag = ()
    """Column of sounds, likewise."""
    text_column: RepeatedFlag = ()
    """Column of texts; found by its name when not given (text, caption, description, …)."""
    key_column: str = ""
    """Column of keys; else the stem of the picture's file name is the key."""
    duplicate_keys: Literal["auto", "refuse", "suffix"] = "auto"
    """Records that share a key: refuse the input, or tell them apart by a suffix `~ROW`. auto
    refuses with --key-column and suffixes otherwise."""
    allow_outside: bool = False
    """Let relative paths leave the folder of their table."""
    folder_labels: bool = True
    """Take label and split from the folders that files lie in."""
    where: str = ""
    """Condition on the metadata that records must meet, as in 'width >= 256 and label == "cat"'."""
    keys: str = ""
    """File of the keys that are wanted: one a line, a table, or DataComp's .npy of uids."""
    keys_column: str = ""
    """Metadata column to look the --keys up in; empty = the key itself."""
    require: str = ""
    """Modalities every sample must have, as in image,text; records without them are rejected."""
    validate: Validation = "header"
    """How far pictures and sounds are checked: not at all, can be opened, or decode whole."""
    resize: int = 0
    """Pixels that pictures are resized to; 0 = not. The words are img2dataset's."""
    resize_mode: ResizeMode = "no"
    """border (fit and fill with white), keep_ratio (shorter side), keep_ratio_largest (longer
    side), or center_crop."""
    resize_only_if_bigger: bool = False
    """Leave pictures alone that are not bigger than --resize."""
    encode: PictureFormat = ""
    """Format to write pictures in: jpg, png or webp; empty = as they are."""
    encode_quality: int = 95
    """Quality of jpg and webp."""
    dedup: Literal["none", "exact"] = "none"
    """exact drops media that another record has byte for byte; every file is then read twice."""
    max_reject_rate: float | None = None
    """Part of the records, 0 to 1, that may be rejected; when more are, the run stops."""
    retry_failed: bool = False
    """Try the failed records of a finished store again; what works now goes into further shards."""
    dry_run: bool = False
    """Print what would be made, and write nothing."""
    max_file_bytes: int = 256 << 20
    """A larger file is not read; its record says too_large."""
    http_timeout: float = 30.0
    """Seconds to wait for a web server, and for its next bytes."""
    http_retries: int = 3
    """Further tries where a web server is busy or breaks off."""
    http_per_host: int = 16
    """Connections to one web server at a time."""
    processes: int = 0
    """Processes that make shards side by side on this machine; 0 = one a core where that pays."""
    threads: int = 0
    """Threads a process reads and checks files with; 0 chooses by where the files are."""

    def __post_init__(self) -> None:
        for name in ("samples_per_shard", "max_shard_bytes", "max_file_bytes", "http_per_host"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise MmfeatError(f"--{name.replace('_', '-')} must be at least 1", got=value)
        for name in ("threads", "processes"):
            if getattr(self, name) < 0:
                raise MmfeatError(f"--{name} must not be negative", got=getattr(self, name))
        if self.http_timeout <= 0:
            raise MmfeatError("--http-timeout must be above 0", got=self.http_timeout)
        if self.http_retries < 0:
            raise MmfeatError("--http-retries must not be negative", got=self.http_retries)
        if self.max_reject_rate is not None and not 0 <= self.max_reject_rate <= 1:
            raise MmfeatError("--max-reject-rate must lie in [0, 1]", got=self.max_reject_rate)
        if not _SHARD_NAME.fullmatch(self.shard_name):
            raise MmfeatError(
                "--shard-name must be letters, digits, - and _ around one number such as %05d",
                got=self.shard_name,
            )
        unknown = [name for name in self.required if name not in MODALITIES]
        if unknown:
            raise MmfeatError(
                f"--require must name modalities out of {', '.join(MODALITIES)}", got=unknown[0]
            )
        if self.dry_run and self.retry_failed:
            raise MmfeatError("--dry-run tells of a whole run; it cannot go with --retry-failed")
        _ = self.reencoding, self.selection  # they refuse what does not fit

    @property
    def required(self) -> list[str]:
        """Modalities every sample must have."""
        return sorted(split_commas(self.require))

    @property
    def refuses_duplicates(self) -> bool:
        """Whether records that share a key end the run."""
        choice = self.duplicate_keys
        return choice == "refuse" or (choice == "auto" and bool(self.key_column))

    @property
    def reencoding(self) -> Reencoding:
        """What happens to pictures."""
        return Reencoding(
            self.resize,
            self.resize_mode,
            self.encode,
            self.encode_quality,
            self.resize_only_if_bigger,
        )

    @property
    def selection(self) -> Selection:
        """Which records are wanted."""
        return Selection(self.where, self.keys, self.keys_column)

    @property
    def input_options(self) -> InputOptions:
        """How the input is to be understood."""
        return InputOptions(
            columns={
                "image": self.image_column,
                "audio": self.audio_column,
                "text": self.text_column,
            },
            key_column=self.key_column,
            allow_outside=self.allow_outside,
            folder_labels=self.folder_labels,
        )

    def contents(self, *, processes: int = 1) -> ContentReader:
        """Reads the bytes of parts; the connections to a host are shared out over processes."""
        per_host = max(1, self.http_per_host // processes)
        connection = Connection(self.http_timeout, self.http_retries, per_host)
        return ContentReader(self.max_file_bytes, connection)

    def layout(self, *, in_order: bool) -> Layout:
        """How records become shards; `in_order` where the input is best read as it stands."""
        auto: Literal["hash", "none"] = "none" if in_order else "hash"
        shuffle = auto if self.shuffle == "auto" else self.shuffle
        return Layout(self.samples_per_shard, self.max_shard_bytes, shuffle, self.shard_name)

    def reader(self, slots: tuple[str, ...], *, processes: int) -> PartReader:
        """Turns records into samples, in one of several processes."""
        contents = self.contents(processes=processes)
        return PartReader(slots, contents, self.validate, self.reencoding)

    def settings(self, source: dict[str, Any], shuffle: str) -> dict[str, Any]:
        """All that determines the bytes of the store."""
        return {
            "source": source,
            "selection": self.selection.describe(),
            "samples_per_shard": self.samples_per_shard,
            "max_shard_bytes": self.max_shard_bytes,
            "shard_name": self.shard_name,
            "shuffle": shuffle,
            "duplicate_keys": "refuse" if self.refuses_duplicates else "suffix",
            "require": self.required,
            "validate": self.validate,
            "resize": {
                "size": self.resize,
                "mode": self.resize_mode,
                "only_if_bigger": self.resize_only_if_bigger,
            },
            "encode": {"format": self.encode, "quality": self.encode_quality},
            "dedup": self.dedup,
            "max_file_bytes": self.max_file_bytes,
        }
