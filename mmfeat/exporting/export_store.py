"""Export a store, shard by shard.

Each shard has a receipt, written after its files, so a run that was killed continues with the next
shard. The manifest is written last and lists all files.
"""

from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.exporting.config import ExportConfig
from mmfeat.exporting.formats import FORMATS, ExportFormat
from mmfeat.exporting.open_source import open_source
from mmfeat.exporting.rows import ExportRows
from mmfeat.exporting.source import ExportSource
from mmfeat.storage import lock_directory
from mmfeat.store import (
    Receipt,
    ReceiptSum,
    RecordedFile,
    ShardAttempt,
    check_output,
    finished_manifest,
    format_counts,
    keys_digest,
    match_run,
    open_run,
    read_receipt,
    withdraw_run,
    write_manifest,
)
from mmfeat.system import ProgressBar, print_err, print_out, show_summary

KIND = "export"


def check_inputs(config: ExportConfig) -> tuple[ExportSource, ExportFormat]:
    """Check the paths and columns of the options, and return the store and the format.

    Raises:
        MmfeatError: the store is no finished store of features or predictions, it lacks a column,
            the format cannot hold its vectors, or the output is something else.
    """
    check_output(config.output, KIND)
    source = open_source(config.store)
    columns = source.choose_columns(config.columns)
    vectors = source.choose_vectors(config.modalities)
    named = bool(config.modalities)
    return source, FORMATS[config.format](source, columns, vectors, named=named)


def export_store(config: ExportConfig) -> dict[str, Any]:
    """Write the files and return the manifest. A finished export is kept.

    Raises:
        MmfeatError: as in `check_inputs`; no record can be exported; or the output has another
            export.
        DamagedFileError: a file of the store is damaged.
    """
    source, writer = check_inputs(config)
    dtype = config.dtype if config.dtype != "auto" else writer.default_dtype
    settings = {
        "format": config.format,
        "source": source.settings | {"vectors": {n: source.fingerprint(n) for n in writer.vectors}},
        "columns": writer.columns,
        "dtype": dtype,
    }
    with lock_directory(config.output):
        manifest = finished_manifest(config.output, match_run(config.output, KIND, settings))
        if manifest:
            print_out(f"{config.output} already holds this export; nothing to do")
        else:
            config_hash = open_run(config.output, KIND, settings)
            manifest = _write_shards(config, source, writer, dtype, config_hash)
    for name, reason in writer.left_out.items():
        print_err(f"mmfeat: note: column {name} {reason}, so {config.format} leaves it out")
    totals = manifest["totals"]
    facts = {"records": totals["records"], "exported": totals["out"]}
    facts |= {f"  left out: {reason}": n for reason, n in totals["rejected"].items()}
    show_summary("export", facts | {"open it with": writer.usage(config.output)})
    return manifest


def _write_shards(
    config: ExportConfig, source: ExportSource, writer: ExportFormat, dtype: str, config_hash: str
) -> dict[str, Any]:
    total, listing, recorded = ReceiptSum(), [], dict[str, RecordedFile]()
    with ProgressBar("export", source.manifest["totals"]["records"], "records") as bar:
        for shard in source.shards:
            name = shard["name"]
            receipt = read_receipt(config.output, name, config_hash)
            if receipt is None:
                rows = source.read(name, writer.columns, writer.vectors, dtype)
                receipt = _write_shard(config.output, writer, rows, config_hash)
            total.add(receipt)
            recorded |= receipt.files
            listing.append(
                {"name": name, "records": receipt.records, "keys_sha256": receipt.keys_sha256}
            )
            bar.advance(receipt.records)
    totals = total.totals
    if not totals["out"]:
        withdraw_run(config.output, [shard["name"] for shard in listing])
        raise MmfeatError(
            f"none of the {totals['records']:,} records of {source.path} can be exported as "
            f"{config.format} ({format_counts(totals['rejected'])})",
            cure="Name fewer columns with --modalities, or use --format parquet",
        )
    recorded |= writer.finish(config.output, totals["out"])
    return write_manifest(
        config.output, KIND, config_hash, shards=listing, files=recorded, totals=totals
    )


def _write_shard(output: str, writer: ExportFormat, rows: ExportRows, config_hash: str) -> Receipt:
    attempt = ShardAttempt(output, rows.shard)
    rejected = writer.write(attempt, rows)
    records = len(rows.table)
    out = records - rejected.total()
    receipt = Receipt(
        shard=rows.shard,
        config_hash=config_hash,
        records=records,
        out=out,
        rejected=dict(rejected),
        status={"ok": out, "failed": rejected.total()},
        keys_sha256=keys_digest(rows.keys),
    )
    attempt.commit(receipt)
    return receipt
