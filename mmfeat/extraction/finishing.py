"""Finish a feature store: check that its columns align, count its records, write the manifest."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.extraction.account import RecordAccount
from mmfeat.features import SAMPLES, Column, TableFiles, parse_columns, read_reasons
from mmfeat.storage import FileSizes, files
from mmfeat.store import (
    MANIFEST_FILE,
    RETRY_SHARD,
    Receipt,
    ReceiptSum,
    RetriedRows,
    StatusAndReason,
    format_counts,
    missing_error,
    open_checked,
    read_manifest,
    read_parquet,
    subtract,
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
        account = RecordAccount(sorted(columns))
        sums = {name: ReceiptSum() for name in (SAMPLES, *columns)}
        listing: list[dict[str, Any]] = []
        to_count: list[tuple[str, bool]] = []
        for receipts in self._read_receipts([*sums]):
            sample = receipts.pop(SAMPLES)
            listing.append(self._describe_shard(sample))
            sums[SAMPLES].add(sample)
            for name, receipt in receipts.items():
                self._check_alignment(name, sample, receipt)
                sums[name].add(receipt)
            has_replaced = bool(self.retry_shards and sample.problems)
            rejected = {name: receipt.rejected for name, receipt in receipts.items()}
            if has_replaced or not account.add_shard(sample.records, rejected):
                to_count.append((sample.shard, has_replaced))
        replaced = self._count_rows(account, listing, to_count)
        totals = {name: subtract(sums[name].totals, replaced[name]) for name in columns}
        if not any(counts["out"] for counts in totals.values()):
            reasons = {name: format_counts(counts["rejected"]) for name, counts in totals.items()}
            raise MmfeatError(
                f"no record of {source} has a feature ({reasons})", cure=self._first_error()
            )
        return write_manifest(
            self.output,
            "features",
            config_hash,
            columns={name: vars(column) for name, column in sorted(columns.items())},
            shards=listing,
            totals={**sums[SAMPLES].totals, **account.totals, "columns": totals},
        )

    def _first_error(self) -> str:
        """Return the error of the first row of the first shard that has one; empty if none has."""
        for name in self.columns:
            path = files.join(self.output, name, f"{self.shards[0]}.arrow")
            with suppress(OSError, DamagedFileError):
                for error in read_reasons(path, ["error"])["error"].to_pylist():
                    if error:
                        return f"The first error: {error}"
        return ""

    def _read_receipts(self, tables: Sequence[str]) -> Iterator[dict[str, Receipt]]:
        """Yield the receipts of each shard: table → receipt.

        Raises:
            MmfeatError: a table lacks shards, after all others.
        """
        sizes = FileSizes()
        receipts = [self.table(name).read_receipts(self.shards, "", sizes) for name in tables]
        missing: dict[str, list[str]] = {name: [] for name in tables}
        for shard, *of_tables in zip(self.shards, *receipts, strict=True):
            found = {n: receipt for n, receipt in zip(tables, of_tables, strict=True) if receipt}
            for name in tables:
                if name not in found:
                    missing[name].append(shard)
            if len(found) == len(tables):
                yield found
        for name, shards in missing.items():
            if shards:
                folder, number = self.table(name).receipts, len(self.shards)
                raise missing_error(folder, shards, number, failures_in=self.output)

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

    def _count_rows(
        self,
        account: RecordAccount,
        listing: Sequence[Mapping[str, Any]],
        shards: Sequence[tuple[str, bool]],
    ) -> dict[str, Counter[StatusAndReason]]:
        """Count records by their rows. A record that a retry has replaced counts once.

        Args:
            account: where they are counted.
            listing: all shards.
            shards: each shard to count, and whether a retry may have replaced rows of it.

        Returns:
            The replaced rows: column → status and reason → rows.
        """
        names = account.columns
        replaced: dict[str, Counter[StatusAndReason]] = {name: Counter() for name in names}
        retried_rows = RetriedRows(listing, lambda shard: self._read_samples(shard)["__key__"])
        for shard, has_replaced in shards:
            paths = {name: files.join(self.output, name, f"{shard}.arrow") for name in names}
            columns = {name: read_reasons(path) for name, path in paths.items()}
            rows = pa.table({name: column["reason"] for name, column in columns.items()})
            if has_replaced:
                mask = retried_rows.mask(self._read_samples(shard), shard)
                for name, counts in replaced.items():
                    gone = columns[name].filter(pa.array(mask)).to_pylist()
                    counts.update((row["status"], row["reason"]) for row in gone)
                rows = rows.filter(pa.array(~mask))
            account.add_rows(rows)
        return replaced

    def _check_alignment(self, column: str, sample: Receipt, receipt: Receipt) -> None:
        if sample.keys_sha256 != receipt.keys_sha256 or sample.records != receipt.records:
            folder = self.table(column).receipts
            raise MmfeatError(
                f"shard {sample.shard} of {folder} does not align with its samples table",
                cure=f"Remove {folder} and run the same command again",
            )

    def _read_samples(self, shard: str) -> pa.Table:
        """Read the keys and the status of a shard of the samples table."""
        path, info = self.table(SAMPLES).find_rows(shard)
        with open_checked(path, info) as file:
            return read_parquet(path, ["__key__", "status"], file=file)


def summarize_columns(manifest: Mapping[str, Any], output: str) -> dict[str, Any]:
    """Return per column the number of features, and why others are missing: lines of a summary."""
    lines: dict[str, Any] = {}
    for name, column in parse_columns(manifest["columns"], output).items():
        totals = manifest["totals"]["columns"][name]
        source = f"{totals['out']:,} features of {column.slot}"
        lines[f"column {name}"] = f"{source} ({column.summary})"
        lines |= {f"  no {name}: {reason}": n for reason, n in totals["rejected"].items()}
    return lines
