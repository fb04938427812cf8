"""Read the media of records into samples: fetch, validate, resize and encode."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mmfeat.errors import RecordError
from mmfeat.media import (
    MAX_PIXELS,
    HttpSettings,
    ImageResizer,
    MediaFetcher,
    check_audio,
    check_pixels,
    open_image,
    read_header_size,
    resolve_parquet_media,
)
from mmfeat.records import (
    MODALITIES,
    MediaRef,
    Record,
    Sample,
    decode_text,
    is_remote,
    known_size,
    member_extension,
    modality_of_extension,
    modality_of_slot,
    passthrough_extension,
    ref_extension,
)
from mmfeat.sharding.config import ShardConfig, Validation
from mmfeat.system import ordered_map, progress

REMOTE_THREADS = 16
"""Default number of threads that wait for remote files."""

_BATCH_RECORDS = 16
"""Records of local files handed to a thread at a time."""


def make_fetcher(
    config: ShardConfig, media_folders: Sequence[str], processes: int = 1
) -> MediaFetcher:
    """Return a fetcher for one of several processes, which share the connections to a host.

    Args:
        config: options of the run.
        media_folders: folders that local files must lie in; empty = anywhere.
        processes: processes that make shards in parallel.
    """
    per_host = max(1, config.http_per_host // processes)
    http = HttpSettings(config.http_timeout, config.http_retries, per_host)
    policy = replace(config.read_policy, folders=tuple(media_folders))
    return MediaFetcher(config.max_file_bytes, http, policy)


def leave_out_deadly(records: Sequence[Record], deadly: Mapping[int, str]) -> list[Record]:
    """Return the records; those that kill their process without media (see `ShardTask.deadly`)."""
    return [
        replace(record, media={}, problems={"": ("worker_died", deadly[row])})
        if row in deadly
        else record
        for row, record in enumerate(records)
    ]


def read_samples(
    records: Sequence[Record],
    config: ShardConfig,
    slots: Sequence[str],
    media_folders: Sequence[str],
    processes: int,
) -> Iterator[Sample]:
    """Yield the samples of records, in order.

    Many threads wait for remote files. One thread reads local files ahead in batches, unless
    several processes keep the cores busy or all files are one batch.

    Args:
        records: the records.
        config: options of the run.
        slots: slots that every record is expected to have.
        media_folders: folders that local files must lie in; empty = anywhere.
        processes: processes that make shards in parallel.
    """
    fetcher = make_fetcher(config, media_folders, processes)
    reader = SampleReader(slots, fetcher, config.validate, config.image_resizer)
    resolved = resolve_parquet_media(records)
    remote = any(is_remote(ref) for record in records for ref in record.media.values())
    is_short = len(records) <= _BATCH_RECORDS
    if (processes > 1 or is_short) and not remote and not config.threads:
        return map(reader.read, resolved)
    return ordered_map(
        reader.read,
        resolved,
        threads=config.threads or (REMOTE_THREADS if remote else 1),
        batch=1 if remote else _BATCH_RECORDS,
        weight=Sample.total_bytes,
    )


@dataclass(frozen=True)
class SampleReader:
    """Reads records into samples.

    Args:
        slots: slots that every record is expected to have.
        fetcher: fetches the bytes.
        validation: how images and audio are checked.
        resizer: resizes and encodes images.
    """

    slots: Sequence[str]
    fetcher: MediaFetcher
    validation: Validation
    resizer: ImageResizer

    def read(self, record: Record) -> Sample:
        """Return the sample of a record. Unusable parts are among its problems."""
        with progress.METRICS.timed("read"):
            return self._read(record)

    def _read(self, record: Record) -> Sample:
        sample = Sample(record, problems=dict(record.problems))
        if "" in sample.problems:
            return sample
        for slot in [*self.slots, *(slot for slot in record.media if slot not in self.slots)]:
            if slot in sample.problems:
                continue
            try:
                self._add_slot(sample, slot, record.media)
            except RecordError as error:
                sample.problems[slot] = (error.reason, error.detail)
        return sample

    def _add_slot(self, sample: Sample, slot: str, media: Mapping[str, MediaRef]) -> None:
        ref = media.get(slot)
        if ref is None:
            raise RecordError("missing", "the record has none")
        modality = modality_of_slot(slot)
        if modality is None:
            content = self.fetcher.fetch(ref) if known_size(ref) != 0 else b""
            _add_member(sample, passthrough_extension(slot), content)
            return
        content = self.fetcher.fetch(ref)
        if modality != "text":
            sample.sha256[slot] = hashlib.sha256(content).hexdigest()
        extension = self._validate(modality, ref_extension(ref), content)
        if modality == "image" and self.resizer.active:
            content, extension = self.resizer.apply(content, extension)
        _add_member(sample, member_extension(slot, extension), content)

    def _validate(self, modality: str, extension: str, content: bytes) -> str:
        """Return the member extension of usable content.

        Raises:
            RecordError: the content is unusable.
        """
        is_known = modality_of_extension(extension) == modality
        if modality == "text":
            decode_text(content)
        elif self.validation != "none":
            decode = self.validation == "decode"
            if modality == "audio":
                detected = check_audio(content, decode=decode).extension
            else:
                detected = _check_image(content, extension if is_known else "", decode=decode)
            if not is_known:
                return detected
        return extension if is_known else MODALITIES[modality].default_extension


def _add_member(sample: Sample, extension: str, content: bytes) -> None:
    """Add a member. The new extension of an encoded image may already be taken."""
    if extension in sample.members or extension == "json":
        raise RecordError("duplicate", f"the sample already has a member .{extension}")
    sample.members[extension] = content


def _check_image(content: bytes, extension: str, *, decode: bool) -> str:
    """Return the extension of an image that can be opened, or decoded."""
    size = None if decode or not extension else read_header_size(content)
    if size and size[0] * size[1] <= MAX_PIXELS:
        return extension
    image = check_pixels(content) if decode else open_image(content)
    return MODALITIES["image"].extension_of(image.format or "")
