"""The options of `mmfeat shard`. Every field is a flag."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from mmfeat.config import InputPath, OutputPath, RepeatedFlag, split_commas
from mmfeat.errors import MmfeatError
from mmfeat.media import ImageFormat, ImageResizer, ReadPolicy, ResizeMode, check_protocols
from mmfeat.records import MODALITIES, modality_of_slot
from mmfeat.sources import InputOptions

Validation = Literal["none", "header", "decode"]

_SHARD_NAME = re.compile(r"[A-Za-z0-9_-]*%0[1-9]d[A-Za-z0-9_-]*")


@dataclass
class ShardConfig:
    """Turn raw records into shards: WebDataset tars, each with a table of its records.

    INPUT is a table (.csv, .tsv, .json, .jsonl, .parquet, also .gz and .zst) with columns of
    images, audio or texts; a folder of such files; or WebDataset tars to shard again. Globs and
    braces name several files: 'part-{000..127}.parquet'. Unknown flags go to Apache Beam, for
    example --runner=DataflowRunner.
    """

    input: InputPath
    """Table, folder or tars of raw records."""
    output: OutputPath
    """Directory to write the shards to."""
    samples_per_shard: int = 1000
    """Maximum number of records in a shard."""
    max_shard_bytes: int | None = None
    """Maximum number of bytes in a shard, as far as sizes are known; looks up every file size."""
    shard_name: str = "%05d"
    """Pattern of the shard names."""
    shuffle: Literal["auto", "hash", "none"] = "auto"
    """Order of the records: hash sorts by a hash of the key, so every shard is a random sample;
    none keeps the input order. auto is hash, or none if a Parquet table contains the media."""
    image_column: RepeatedFlag = ()
    """Column of images: paths, URLs, bytes or base64. By default found by its name (file_name,
    image, …). NAME=COLUMN adds another image per record, KEY.NAME.jpg; NAME has ASCII letters,
    digits and _."""
    audio_column: RepeatedFlag = ()
    """Column of audio, as for images."""
    text_column: RepeatedFlag = ()
    """Column of texts. By default found by its name (text, caption, description, …)."""
    key_column: str = ""
    """Column of keys; empty = the stem of the file name is the key."""
    duplicate_keys: Literal["auto", "refuse", "suffix"] = "auto"
    """If records share a key: refuse the input, or add a suffix `~ROW`. auto refuses with
    --key-column and adds suffixes without it."""
    allow_outside: bool = False
    """Allow the rows of a table to leave its folder by ../, links or URLs, too; absolute paths may
    always."""
    allow_protocol: RepeatedFlag = ()
    """Protocol of URLs that the rows of a table may use, for example s3; http and https are always
    allowed. May be given several times."""
    folder_labels: bool = True
    """Take label and split of a file from the folders it is in."""
    where: str = ""
    """Keep only records whose metadata meet a condition, for example
    'width >= 256 and label == "cat"'."""
    keys: str = ""
    """Keep only records whose keys are in this file: one per line, a table, or DataComp's .npy of
    uids."""
    keys_column: str = ""
    """Metadata column to look up in --keys; empty = the key."""
    require: str = ""
    """Modalities or slots that every sample must have, for example image,text.desc; other records
    are rejected."""
    validate: Validation = "header"
    """Check of images and audio: none, header (can be opened) or decode (decodes to its end)."""
    resize: int = 0
    """Size of resized images in pixels; 0 = do not resize. Options and modes are img2dataset's."""
    resize_mode: ResizeMode = "no"
    """border (fit and pad with white), keep_ratio (shorter side), keep_ratio_largest (longer
    side), or center_crop."""
    resize_only_if_bigger: bool = False
    """Resize only images that are larger than --resize."""
    encode: ImageFormat = ""
    """Format to write images in: jpg, png or webp; empty = keep the format."""
    encode_quality: int = 95
    """Quality of jpg and webp."""
    dedup: Literal["none", "exact"] = "none"
    """exact drops media that are byte for byte equal to those of an earlier record. Every file is
    then read twice."""
    max_reject_rate: float | None = None
    """Stop the run if more than this fraction of the records (0 to 1) is rejected."""
    retry_failed: bool = False
    """Try records of a finished store again: failed ones, and partial ones whose missing parts were
    unavailable. Records that are better now go into new shards."""
    dry_run: bool = False
    """Show what would be written, and write nothing."""
    max_file_bytes: int = 256 << 20
    """Maximum size of a file; records with a larger one get the reason too_large."""
    http_timeout: float = 30.0
    """Seconds to wait for an answer of a web server, and for its next bytes."""
    http_retries: int = 3
    """Retries if a web server is busy or closes the connection."""
    http_per_host: int = 16
    """Maximum number of connections to one web server."""
    allow_private: bool = False
    """Allow web servers with private and loopback addresses."""
    ignore_robots_tag: bool = False
    """Use files even if their X-Robots-Tag header is noai, noimageai, noindex or noimageindex."""
    processes: int = 0
    """Processes that make shards in parallel on this machine; 0 = one per core for large inputs."""
    threads: int = 0
    """Threads per process that read and check files; 0 = many for remote files, one for local."""

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
            raise MmfeatError("--max-reject-rate must be in [0, 1]", got=self.max_reject_rate)
        if not _SHARD_NAME.fullmatch(self.shard_name):
            raise MmfeatError(
                "--shard-name must be letters, digits, - and _ around one number such as %05d",
                got=self.shard_name,
            )
        unknown = [name for name in self.required if modality_of_slot(name) is None]
        if unknown:
            raise MmfeatError(
                f"--require must name modalities or slots of {', '.join(MODALITIES)}",
                got=unknown[0],
            )
        if self.dry_run and self.retry_failed:
            raise MmfeatError("--dry-run shows a whole run and does not work with --retry-failed")
        if self.keys_column and not self.keys:
            raise MmfeatError("--keys-column needs --keys", got=self.keys_column)
        _ = self.image_resizer, self.read_policy  # checks its values

    @property
    def required(self) -> list[str]:
        """Slots that every sample must have."""
        return sorted(split_commas(self.require))

    @property
    def refuse_duplicate_keys(self) -> bool:
        """Whether records that share a key are an error."""
        automatic = self.duplicate_keys == "auto" and bool(self.key_column)
        return automatic or self.duplicate_keys == "refuse"

    @property
    def image_resizer(self) -> ImageResizer:
        """How images are resized and encoded."""
        return ImageResizer(
            self.resize,
            self.resize_mode,
            self.encode,
            self.encode_quality,
            self.resize_only_if_bigger,
        )

    @property
    def read_policy(self) -> ReadPolicy:
        """What the rows of the input may make this machine read."""
        return ReadPolicy(
            check_protocols(self.allow_protocol),
            self.allow_outside,
            self.allow_private,
            self.ignore_robots_tag,
        )

    @property
    def input_options(self) -> InputOptions:
        """How the input is read."""
        return InputOptions(
            columns={
                "image": self.image_column,
                "audio": self.audio_column,
                "text": self.text_column,
            },
            key_column=self.key_column,
            read_policy=self.read_policy,
            folder_labels=self.folder_labels,
        )

    def fingerprint(self, source: dict[str, Any], keys_sha256: str, shuffle: str) -> dict[str, Any]:
        """Return all that determines the bytes of the store.

        Args:
            source: description of the input.
            keys_sha256: digest of the file of --keys; empty without it.
            shuffle: resolved order of the records.
        """
        return {
            "source": source,
            "selection": {
                "where": self.where,
                "keys_sha256": keys_sha256,
                "keys_column": self.keys_column,
            },
            "samples_per_shard": self.samples_per_shard,
            "max_shard_bytes": self.max_shard_bytes,
            "shard_name": self.shard_name,
            "shuffle": shuffle,
            "duplicate_keys": "refuse" if self.refuse_duplicate_keys else "suffix",
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
            **self.read_policy.describe_web(),
        }
