"""Extraction: shards → feature columns, each record counted in each column.

OUTPUT/samples/00000.parquet    one row an input record, as the shards have it
OUTPUT/image/00000.arrow        the feature of row i is the feature of that row i
OUTPUT/image/column.json        which encoder made the column
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.config.flags import OutputPath, RepeatedFlag, ShardsPath
from mmfeat.encoders import Encoder, EncoderSpec, Precision, Settings, builtin_for
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.extraction.autotune import PROBED, Settled, settle
from mmfeat.extraction.column_writer import ColumnWriter, claim_column, read_settled
from mmfeat.extraction.decode import member_of, windows
from mmfeat.features.column_format import Column
from mmfeat.features.column_reader import read_column_file
from mmfeat.features.store import SAMPLES
from mmfeat.sharding.retry import further_shards
from mmfeat.shards.reader import aligned_rows
from mmfeat.store import files
from mmfeat.store.directory import (
    MANIFEST,
    Receipt,
    claim,
    count_words,
    finished,
    read_manifest,
    read_receipt,
    require_receipts,
    totals,
    without,
    write_manifest,
)
from mmfeat.store.retried import FURTHER, Superseded
from mmfeat.store.stage import ShardTask, Stage
from mmfeat.system import progress
from mmfeat.system.threads import default_threads

_LOADED: dict[tuple[EncoderSpec, Settings], Encoder] = {}
"""Encoders that planning has loaded; workers of the same process need not load them again."""


@dataclass
class ExtractConfig:
    """Run frozen encoders over shards, once; keep a feature of every record.

    Without --encoder the built-in encoder of every modality found is used. Run it again with
    another --encoder to add a column: what is there is not computed again. Flags not listed here
    go to Apache Beam, for example --runner=DataflowRunner.
    """

    shards: ShardsPath
    """Directory that `mmfeat shard` made."""
    output: OutputPath
    """Directory of the features."""
    encoder: RepeatedFlag = ()
    """COLUMN=SCHEME:NAME?OPTION=VALUE, as in image=builtin:image; COLUMN:MODALITY=… where the
    column is not called like its modality. Give it once a column."""
    precision: Precision = "auto"
    """Of the weights and the forward; auto measures which is fastest and still gives the features
    of float32 (mean cosine 0.999, least 0.99), once, when a column is begun."""
    device: str = "auto"
    """auto (all GPUs, or the CPU where there is none), cpu, cuda, cuda:1, cuda:0,1."""
    batch_size: int = 0
    """Records encoded at a time at most; 0 = found by measuring when a column is begun."""
    full_decoding: bool = False
    """Decode JPEGs at their full size even where an encoder wants a much smaller picture."""
    trust_remote_code: bool = False
    """Run code that comes with a checkpoint."""
    threads: int = 0
    """Threads that decode, and of a forward on the CPU; 0 takes one a core."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 0:
                flag = f"--{name.replace('_', '-')}"
                raise MmfeatError(f"{flag} must not be negative", got=getattr(self, name))

    @property
    def settings(self) -> Settings:
        """How encoders run."""
        return Settings(
            device=self.device,
            precision=self.precision,
            reduced_decoding=not self.full_decoding,
            threads=self.threads or default_threads(),
            trust_remote_code=self.trust_remote_code,
        )


class Extraction(Stage):
    """The stage behind `mmfeat extract`."""

    name = "extract"

    def __init__(self, config: ExtractConfig) -> None:
        self.config = config
        self.output = config.output
        self.config_hash = ""
        self.columns: dict[str, Column] = {}
        self._specs: list[EncoderSpec] = []
        self._settled: dict[str, Settled] = {}
        self._sources: dict[str, dict[str, Any]] = {}
        self._further: set[str] = set()
        self._account: dict[str, Any] = {}

    def plan(self) -> list[ShardTask]:
        """One task a shard of the input; columns and shards that are there are not made again."""
        shards = read_manifest(self.config.shards, "shards")
        self._specs = self._choose(shards["modalities"])
        for spec in self._specs:
            if spec.modality not in shards["modalities"]:
                raise MmfeatError(
                    f"column {spec.column} needs {spec.modality}, and {self.config.shards} has "
                    f"{', '.join(shards['modalities'])}"
                )
        self._sources = {shard["name"]: shard for shard in shards["shards"]}
        self._further = {*further_shards(shards)}
        account = ("records", "out", "rejected", "status", "problems")
        self._account = {name: shards["totals"][name] for name in account}
        settled = {spec.column: self._settle(spec) for spec in self._specs}
        self.config_hash = claim(self.output, "features", {"shards": shards["config_hash"]})
        for spec in self._specs:
            encoder, found = settled[spec.column]
            folder = self._folder(spec.column)
            self.columns[spec.column] = claim_column(folder, spec, encoder, found)
            self._settled[spec.column] = found
            _LOADED[spec, self._settings_of(spec)] = encoder
        return [
            ShardTask(name, shard["records"], done=not self._pending(name))
            for name, shard in self._sources.items()
        ]

    def _choose(self, modalities: Sequence[str]) -> list[EncoderSpec]:
        specs = [EncoderSpec.parse(text) for text in self.config.encoder]
        if not specs:
            specs = [spec for modality in modalities if (spec := builtin_for(modality))]
        columns = Counter(spec.column for spec in specs)
        if twice := [name for name, number in columns.items() if number > 1]:
            raise MmfeatError("--encoder must give each column once", got=twice[0])
        return specs

    def _settle(self, spec: EncoderSpec) -> tuple[Encoder, Settled]:
        """The encoder of a column, as it was settled when the column was begun, or is now."""
        settings, size = self.config.settings, self.config.batch_size
        if found := read_settled(self._folder(spec.column)):
            if settings.precision == "auto":
                settings = replace(settings, precision=found.precision)
            return spec.load(settings), replace(found, batch_size=size or found.batch_size)
        members = list(islice(self._members(spec.modality), PROBED))
        return settle(spec, settings, members, size)

    def _members(self, modality: str) -> Iterator[bytes]:
        """Contents of a modality, from the first shard on."""
        for shard in self._sources:
            base = files.join(self.config.shards, shard)
            with (
                files.open_input(f"{base}.parquet") as table,
                files.open_input(f"{base}.tar") as tar,
            ):
                for row in aligned_rows(table, tar):
                    with suppress(RecordError):
                        if content := member_of(row, modality):
                            yield content

    def _settings_of(self, spec: EncoderSpec) -> Settings:
        """How the encoder of a column runs, all settled."""
        return replace(self.config.settings, precision=self._settled[spec.column].precision)

    def _folder(self, name: str) -> str:
        return files.join(self.output, name)

    def _pending(self, shard: str) -> list[str]:
        """Folders, columns' and samples', in which the shard has no receipt yet."""
        wanted = {name: column.fingerprint for name, column in self.columns.items()}
        return [
            folder
            for folder, config_hash in {SAMPLES: self.config_hash, **wanted}.items()
            if not self._is_made(folder, shard, config_hash)
        ]

    def _is_made(self, folder: str, shard: str, config_hash: str) -> bool:
        receipt = read_receipt(self._folder(folder), shard)
        if receipt is None or receipt.config_hash != config_hash:
            return False
        source = self._sources[shard]
        if receipt.source["sha256"] != source["sha256"]:
            raise MmfeatError(
                f"shard {shard} of {self._folder(folder)} was made from other bytes than "
                f"{self.config.shards} holds now ({receipt.source['sha256'][:12]} there, "
                f"{source['sha256'][:12]} now)",
                cure="Name another output directory",
            )
        return True

    def load(self) -> dict[str, Encoder]:
        """The encoders, by column."""
        return {
            spec.column: _LOADED.get((spec, self._settings_of(spec)))
            or spec.load(self._settings_of(spec))
            for spec in self._specs
        }

    def process(self, task: ShardTask, loaded: Mapping[str, Encoder]) -> Receipt:
        """Make what is missing of one shard: columns first, the samples table last."""
        pending = self._pending(task.shard)
        columns = [name for name in self.columns if name in pending]
        if columns:
            self._make_columns(task.shard, {name: loaded[name] for name in columns})
        progress.RECORDS.add(task.records if not columns else 0)
        if SAMPLES in pending:
            self._copy_samples(task.shard)
        receipt = read_receipt(self._folder(SAMPLES), task.shard)
        if receipt is None:
            raise OSError(f"the receipt of shard {task.shard} vanished from {self.output}")
        return receipt

    def _make_columns(self, shard: str, encoders: Mapping[str, Encoder]) -> None:
        started = time.monotonic()
        base = files.join(self.config.shards, shard)
        threads = self.config.threads or default_threads()
        specs = {spec.column: spec for spec in self._specs}
        with ExitStack() as stack:
            table = stack.enter_context(files.open_input(f"{base}.parquet"))
            tar = stack.enter_context(files.open_input(f"{base}.tar"))
            writers = {
                name: stack.enter_context(
                    ColumnWriter(
                        self._folder(name),
                        shard,
                        self.columns[name],
                        encoder,
                        batch_size=self._settled[name].batch_size,
                        normalize=specs[name].normalize,
                    )
                )
                for name, encoder in encoders.items()
            }
            rows = aligned_rows(table, tar)
            ahead = any(encoder.on_gpu for encoder in encoders.values())
            for window in windows(rows, encoders, threads=threads, ahead=ahead):
                for name, writer in writers.items():
                    writer.write(window.keys, window.items[name], window.bytes_read[name])
                progress.RECORDS.add(len(window.keys))
        source = {"shards": self.config.shards, "sha256": self._sources[shard]["sha256"]}
        for writer in writers.values():
            writer.commit(source, seconds=time.monotonic() - started)

    def _copy_samples(self, shard: str) -> None:
        """The shards' table as it is; its receipt repeats the account of the sharding."""
        made = read_receipt(self.config.shards, shard, but=f"{shard}.tar")
        if made is None:
            raise MmfeatError(f"shard {shard} of {self.config.shards} is not there, or was changed")
        if made.records != self._sources[shard]["records"]:
            made = _of_rows(made)
        name = f"{shard}.parquet"
        with (
            files.open_input(files.join(self.config.shards, name)) as table,
            files.create(files.join(self._folder(SAMPLES), name)) as output,
        ):
            while block := table.read(1 << 20):
                output.write(block)
        Receipt(
            shard=shard,
            config_hash=self.config_hash,
            records=made.records,
            out=made.out,
            rejected=made.rejected,
            status=made.status,
            problems=made.problems,
            files={name: output.describe()},
            keys_sha256=made.keys_sha256,
            source={"shards": self.config.shards, "sha256": self._sources[shard]["sha256"]},
            bytes_read=made.files[f"{shard}.tar"]["bytes"],
        ).write(self._folder(SAMPLES))

    def _receipts(self, name: str, shards: Sequence[str]) -> list[Receipt]:
        return require_receipts(self._folder(name), shards, failures_in=self.output)

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check that all columns line up with the samples, and write the manifest."""
        samples = self._receipts(SAMPLES, shards)
        previous = files.read_json(files.join(self.output, MANIFEST)) or {}
        columns = {
            name: Column(**facts) for name, facts in previous.get("columns", {}).items()
        } | self.columns
        receipts = {name: self._receipts(name, shards) for name in columns}
        for name, of_column in receipts.items():
            _require_same_keys(samples, of_column, self._folder(name))
        listing = [self._listed(receipt) for receipt in samples]
        again = self._superseded(samples, listing, columns)
        by_column = {
            name: without(totals(of_column), again[name], "missing")
            for name, of_column in receipts.items()
        }
        if not any(sums["out"] for sums in by_column.values()):
            words = {name: count_words(sums["rejected"]) for name, sums in by_column.items()}
            raise MmfeatError(f"no record of {self.config.shards} gave a feature ({words})")
        return write_manifest(
            self.output,
            "features",
            self.config_hash,
            columns={name: vars(column) for name, column in sorted(columns.items())},
            shards=listing,
            totals={**totals(samples), **self._account, "columns": by_column},
        )

    def _listed(self, receipt: Receipt) -> dict[str, Any]:
        facts = {
            "name": receipt.shard,
            "records": receipt.records,
            "keys_sha256": receipt.keys_sha256,
        }
        return facts | ({FURTHER: True} if receipt.shard in self._further else {})

    def _superseded(
        self,
        samples: Iterable[Receipt],
        listing: Sequence[Mapping[str, Any]],
        columns: Iterable[str],
    ) -> dict[str, Counter[str]]:
        """Column → why rows have no feature whose records were tried again and have another row."""
        superseded = Superseded(self._folder(SAMPLES), listing)
        reasons: dict[str, Counter[str]] = {name: Counter() for name in columns}
        for receipt in samples if self._further else ():
            if receipt.rejected:
                path = files.join(self._folder(SAMPLES), f"{receipt.shard}.parquet")
                with files.open_input(path) as file:
                    again = superseded.among(pq.read_table(file, columns=["__key__", "status"]))
                for name, counts in reasons.items():
                    column = read_column_file(files.join(self._folder(name), f"{receipt.shard}.arrow"))
                    counts.update(column.reasons.filter(pa.array(again)).to_pylist())
        return reasons

    def tidy(self, shards: Sequence[str]) -> None:
        """Let go of the encoders."""
        _LOADED.clear()

    def finished(self) -> dict[str, Any] | None:
        """The manifest, when it has all columns asked for."""
        manifest = finished(self.output, self.config_hash)
        if manifest and self.columns.keys() <= manifest["columns"].keys():
            return manifest
        return None

    def facts(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Per column: vectors made, and why some are not there."""
        facts: dict[str, Any] = {}
        for name, column in manifest["columns"].items():
            sums = manifest["totals"]["columns"][name]
            size = Column(**column).summary
            facts[f"column {name}"] = f"{sums['out']:,} features ({size})"
            facts |= {f"  no {name}: {why}": n for why, n in sums["rejected"].items()}
        return facts


def _of_rows(made: Receipt) -> Receipt:
    """The account of a shard of records that were tried again: those that failed once more have
    no row in it."""
    return replace(
        made,
        records=made.out,
        rejected={},
        status={status: n for status, n in made.status.items() if status != "failed"},
        problems=dict(Counter(made.problems) - Counter(made.rejected)),
    )


def _require_same_keys(samples: Iterable[Receipt], column: Iterable[Receipt], folder: str) -> None:
    for row, feature in zip(samples, column, strict=True):
        if row.keys_sha256 != feature.keys_sha256 or row.records != feature.records:
            raise MmfeatError(
                f"shard {row.shard} of {folder} does not line up with its samples table",
                cure=f"Remove {folder} and run the same command again",
            )
