"""Finish a feature store: check that its columns align, count its records, write the manifest."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from mmfeat.errors import MmfeatError
from mmfeat.extraction.account import RecordAccount
from mmfeat.features import SAMPLES, Column, TableFiles, parse_columns, read_reasons
from mmfeat.storage import files
from mmfeat.store import (
    MANIFEST_FILE,
    RETRY_SHARD,
    Receipt,
    RetriedRows,
    StatusAndReason,
    format_counts,
    open_checked,
    read_manifest,
    read_parquet,
    subtract,
    sum_receipts,
    write_manifest,
)


@dataclass(frozen=True)
class FinishedShards:
    """The shards of a feature store, after all of them are made.

    Attributes:
        output: the store.
        table: returns the files of a column, or of the samples table.
        columns: columns of this run.
        shards: names of the shards.
        retry_shards: those of retried records.
    """

    output: str
    table: Callable[[str], TableFiles]
    columns: Mapping[str, Column]
    shards: Sequence[str]
    retry_shards: set[str]

    def write_manifest(self, config_hash: str, source: str) -> dict[str, Any]:
        """Check that all columns align with the samples table, then write the manifest.

        Args:
            config_hash: configuration of the store.
            source: where the shards come from, for errors.

        Raises:
            MmfeatError: shards are missing, a column does not align, or no record has a feature.
        """
        columns = self._finished_columns() | {**self.columns}
        receipts = {name: self.table(name).require_receipts(self.shards) for name in columns}
        for name, column_receipts in receipts.items():
            _check_alignment(self._samples, column_receipts, self.table(name).receipts)
        listing = [self._describe_shard(receipt) for receipt in self._samples]
        account, replaced = self._count_records(listing, receipts)
        totals = {
            name: subtract(sum_receipts(column_receipts), replaced[name])
            for name, column_receipts in receipts.items()
        }
        if not any(counts["out"] for counts in totals.values()):
            reasons = {name: format_counts(counts["rejected"]) for name, counts in totals.items()}
            raise MmfeatError(f"no record of {source} has a feature ({reasons})")
        return write_manifest(
            self.output,
            "features",
            config_hash,
            columns={name: vars(column) for name, column in sorted(columns.items())},
            shards=listing,
            totals={**sum_receipts(self._samples), **account.totals, "columns": totals},
        )

    @cached_property
    def _samples(self) -> list[Receipt]:
        return self.table(SAMPLES).require_receipts(self.shards)

    def _finished_columns(self) -> dict[str, Column]:
        """Return the columns of the manifest, which earlier runs have made."""
        path = files.join(self.output, MANIFEST_FILE)
        if not files.exists(path):
            return {}
        return parse_columns(read_manifest(self.output, "features")["columns"], path)

    def _describe_shard(self, receipt: Receipt) -> dict[str, Any]:
        """Return the entry of a shard in the manifest."""
        flag = {RETRY_SHARD: True} if receipt.shard in self.retry_shards else {}
        names = {"name": receipt.shard, "records": receipt.records}
        return {**names, "keys_sha256": receipt.keys_sha256, **flag}

    def _count_records(
        self, listing: Sequence[Mapping[str, Any]], receipts: Mapping[str, Sequence[Receipt]]
    ) -> tuple[RecordAccount, dict[str, Counter[StatusAndReason]]]:
        """Count the records over all columns. A record that a retry has replaced counts once.

        Returns:
            The account, and the replaced rows: column → status and reason → rows.
        """
        account = RecordAccount(sorted(receipts))
        replaced: dict[str, Counter[StatusAndReason]] = {name: Counter() for name in receipts}
        retried_rows = RetriedRows(listing, lambda shard: self._read_samples(shard)["__key__"])
        for number, sample in enumerate(self._samples):
            has_replaced = bool(self.retry_shards and sample.problems)
            rejected = {name: receipts[name][number].rejected for name in receipts}
            if not has_replaced and account.add_shard(sample.records, rejected):
                continue
            paths = {n: files.join(self.output, n, f"{sample.shard}.arrow") for n in receipts}
            columns = {name: read_reasons(path) for name, path in paths.items()}
            rows = pa.table({name: column["reason"] for name, column in columns.items()})
            if has_replaced:
                mask = retried_rows.mask(self._read_samples(sample.shard), sample.shard)
                for name, counts in replaced.items():
                    gone = columns[name].filter(pa.array(mask)).to_pylist()
                    counts.update((row["status"], row["reason"]) for row in gone)
                rows = rows.filter(pa.array(~mask))
            account.add_rows(rows)
        return account, replaced

    def _read_samples(self, shard: str) -> pa.Table:
        """Read the keys and the status of a shard of the samples table."""
        path, info = self.table(SAMPLES).find_rows(shard)
        with open_checked(path, info) as file:
            return read_parquet(path, ["__key__", "status"], file=file)


def _check_alignment(
    samples: Sequence[Receipt], column_receipts: Sequence[Receipt], folder: str
) -> None:
    for sample, column in zip(samples, column_receipts, strict=True):
        if sample.keys_sha256 != column.keys_sha256 or sample.records != column.records:
            raise MmfeatError(
                f"shard {sample.shard} of {folder} does not align with its samples table",
                cure=f"Remove {folder} and run the same command again",
            )


def summarize_columns(manifest: Mapping[str, Any], output: str) -> dict[str, Any]:
    """Return per column the number of features, and why others are missing: lines of a summary."""
    lines: dict[str, Any] = {}
    for name, column in parse_columns(manifest["columns"], output).items():
        totals = manifest["totals"]["columns"][name]
        source = f"{totals['out']:,} features of {column.slot}"
        lines[f"column {name}"] = f"{source} ({column.summary})"
        lines |= {f"  no {name}: {reason}": n for reason, n in totals["rejected"].items()}
    return lines
