"""Start a feature column, or continue one with the settings it was started with.

column.json has the encoder of a column and its settings. It is written before the first shard.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from mmfeat.encoders import CompileError, Encoder, EncoderSpec, Settings, fingerprint
from mmfeat.errors import MmfeatError
from mmfeat.extraction.tuning import TunedSettings, TuningCache, autotune, drop_deadly_members
from mmfeat.features import COLUMN_FILE, ENCODER_FLAG, Column, TableFiles
from mmfeat.storage import SMALL_BYTES, check_value, files, read_document
from mmfeat.store import describe_differences, is_unfinished, mark_unfinished

_SETTLED = "settled"
"""Entry of column.json with the tuned settings."""


def continue_column(
    table: TableFiles, spec: EncoderSpec, settings: Settings, batch_size: int
) -> tuple[Encoder, TunedSettings] | None:
    """Load an encoder with the settings its column was started with; None if it is new.

    Args:
        table: the column.
        spec: its encoder.
        settings: the requested settings.
        batch_size: requested batch size; 0 = as started.

    Raises:
        MmfeatError: the requested settings differ, or this machine cannot decode or compile as
            before.
    """
    tuned = read_tuned_settings(table.receipts)
    if tuned is None:
        return None
    if spec.modality == "image" and settings.decode not in ("auto", tuned.decode):
        raise MmfeatError(
            f"the column {table.name} of {table.store} was started with --decode={tuned.decode}",
            got=f"--decode={settings.decode}",
            cure="Leave the flag out, or give the column another name",
        )
    if settings.precision == "auto":
        settings = replace(settings, precision=tuned.precision)
    encoder = spec.load(replace(settings, decode="cpu"))
    if tuned.decode == "gpu" and not encoder.can_decode_on_gpu:
        raise MmfeatError(
            f"the column {table.name} of {table.store} was started with JPEGs decoded on a GPU, "
            "and this machine cannot do that",
            cure="Continue on a machine with a GPU and torchcodec, or start another column",
        )
    if tuned.decode == "gpu":
        encoder = encoder.decoding_on_gpu()
    tuned = replace(tuned, batch_size=batch_size or tuned.batch_size)
    if settings.compile != "auto" and encoder.can_compile:
        _check_compile(table, tuned, settings.compile)
    if tuned.compile:
        encoder = _compile_again(table, encoder, tuned)
    return encoder, tuned


def _check_compile(table: TableFiles, tuned: TunedSettings, requested: str) -> None:
    """Check that a column was started with the requested flag.

    Raises:
        MmfeatError: it was not. That the compiler failed when the column was started is no error.
    """
    started = "on" if tuned.compile else "off"
    measured = tuned.measured.get("compile")
    failed = isinstance(measured, dict) and "reason" in measured
    if requested != started and not (requested == "on" and failed):
        raise MmfeatError(
            f"the column {table.name} of {table.store} was started with --compile={started}",
            got=f"--compile={requested}",
            cure="Leave the flag out, or give the column another name",
        )


def _compile_again(table: TableFiles, encoder: Encoder, tuned: TunedSettings) -> Encoder:
    try:
        return encoder.compiled(tuned.usable_batch_size)
    except CompileError as error:
        raise MmfeatError(
            f"the column {table.name} of {table.store} was started with a compiled forward pass, "
            "and this machine cannot compile it",
            got=str(error),
            cure="Continue on a machine with the same GPU or CPU and a compiler, or start another "
            "column",
        ) from error


def tune_column(
    table: TableFiles,
    spec: EncoderSpec,
    settings: Settings,
    batch_size: int,
    members: Iterable[bytes],
    records: int,
    cache: TuningCache,
) -> tuple[Encoder, TunedSettings]:
    """Load the encoder of a new column with the fastest settings.

    Args:
        table: the column.
        spec: its encoder.
        settings: the requested settings.
        batch_size: requested batch size; 0 = measure it.
        members: the media to measure with.
        records: records of the column.
        cache: what this machine has measured before.
    """
    members = list(members)
    if is_unfinished(table.store, table.name):
        reference = replace(settings, precision="float32")
        members = drop_deadly_members(spec, reference, members)
    with mark_unfinished(table.store, table.name):
        return autotune(spec, settings, members, batch_size, records, cache)


def claim_column(folder: str, spec: EncoderSpec, encoder: Encoder, tuned: TunedSettings) -> Column:
    """Start a column in a folder, or continue the column of the same encoder.

    Raises:
        MmfeatError: another encoder made the column in this folder.
    """
    column = describe_column(spec, encoder, compiled=tuned.compile)
    existing = read_document(files.join(folder, COLUMN_FILE), Column, SMALL_BYTES)
    if existing is None:
        flag = spec.with_absolute_paths().flag
        description = {**vars(column), ENCODER_FLAG: flag, _SETTLED: asdict(tuned)}
        files.write_json(files.join(folder, COLUMN_FILE), description)
    elif existing.fingerprint != column.fingerprint:
        raise MmfeatError(
            f"column {spec.column} in {folder} was made by another encoder (fingerprint "
            f"{existing.fingerprint[:12]}, now {column.fingerprint[:12]}; different: "
            f"{describe_differences(existing.facts, column.facts)})",
            cure="Give the new encoder another column name",
        )
    return column


def describe_column(spec: EncoderSpec, encoder: Encoder, *, compiled: bool = False) -> Column:
    """Return the column of an encoder; its fingerprint covers all that its values depend on.

    Args:
        spec: the encoder.
        encoder: the same, loaded.
        compiled: whether the forward pass of the column is compiled. That changes how values are
            rounded.
    """
    identity = {**encoder.identity(), "dtype": spec.dtype}
    if spec.normalize:
        identity["normalize"] = True
    if spec.slot not in ("", spec.modality):
        identity["slot"] = spec.slot.lower()
    if compiled:
        identity["compiled"] = True
    return Column(
        name=spec.column,
        modality=encoder.modality,
        dim=encoder.dim,
        fingerprint=fingerprint(identity),
        encoder=identity,
        dtype=spec.dtype,
        max_tokens=encoder.max_tokens,
    )


def read_tuned_settings(folder: str) -> TunedSettings | None:
    """Read the settings a column was started with; None if the column is new."""
    path = files.join(folder, COLUMN_FILE)
    description = read_document(path, dict[str, Any], SMALL_BYTES)
    return check_value(description.get(_SETTLED), TunedSettings, path) if description else None


def limit_batch_size(folder: str, limit: int) -> None:
    """Record in column.json that the memory of the GPU holds no larger batches."""
    path = files.join(folder, COLUMN_FILE)
    description, tuned = read_document(path, dict[str, Any]), read_tuned_settings(folder)
    if description and tuned:
        limited = replace(tuned, memory_limit=min(limit, tuned.memory_limit or limit))
        files.write_json(path, {**description, _SETTLED: asdict(limited)})
