"""The commands as functions. Options have the names of the flags, with underscores.

`mmfeat.train("features", "model", target="label", fusion="gmu")` is the same as
`mmfeat train features model --target label --fusion gmu`. A path may be a `pathlib.Path`, and the
values of a repeated flag may be one text, a list, or a mapping: `encoder={"image": "hf:…"}`. The
functions print what the commands print. They raise `MmfeatError` where a command ends with an
error, and `OSError` for errors of the disk.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mmfeat.api.derived_stores import Audit, Duplicates, Export
from mmfeat.api.stores import Comparison, Features, Predictions, Ranking, Shards
from mmfeat.cli.verify import VerifyConfig
from mmfeat.config import make_config
from mmfeat.errors import MmfeatError
from mmfeat.import_path import safe_child_processes
from mmfeat.store import check_finished, check_output
from mmfeat.system import quiet_import
from mmfeat.verification import Verification, uncommit, verify_store

if TYPE_CHECKING:
    from mmfeat.api.trained_model import TrainedModel
    from mmfeat.retrieval import SearchResult
    from mmfeat.store import Stage

Path: TypeAlias = str | os.PathLike[str]


def shard(input: Path, output: Path, *, beam_flags: Sequence[str] = (), **options: Any) -> Shards:
    """Turn raw records into shards, as `mmfeat shard`.

    Args:
        input: table, folder or tars of raw records.
        output: directory of the shards.
        beam_flags: flags of Apache Beam, such as `--runner=PrismRunner`.
        options: the fields of `mmfeat.sharding.ShardConfig`.
    """
    from mmfeat.sharding import ShardConfig, Sharding

    config = make_config(ShardConfig, {"input": input, "output": output, **options}, source="shard")
    if config.dry_run:
        raise MmfeatError("a dry run is only a command", cure="Run mmfeat shard --dry-run")
    _run_stage(Sharding(config), beam_flags)
    return Shards(config.output)


def extract(
    shards: Path, output: Path, *, beam_flags: Sequence[str] = (), **options: Any
) -> Features:
    """Run frozen encoders over shards, once, as `mmfeat extract`.

    Args:
        shards: directory of the shards.
        output: directory of the features.
        beam_flags: flags of Apache Beam.
        options: the fields of `mmfeat.extraction.ExtractConfig`.
    """
    from mmfeat.extraction import ExtractConfig, Extraction

    given = {"shards": shards, "output": output, **options}
    config = make_config(ExtractConfig, given, source="extract")
    _run_stage(Extraction(config), beam_flags)
    return Features(config.output)


def train(features: Path, output: Path, **options: Any) -> "TrainedModel":
    """Train a model on features, as `mmfeat train`.

    Args:
        features: directory of the features.
        output: directory of the model.
        options: the fields of `training.config.TrainConfig` and of its groups.
    """
    from training.columns import check_columns
    from training.config import TrainConfig

    given = {"features": features, "output": output, **options}
    config = make_config(TrainConfig, given, source="train")
    check_columns(config, "model", config.named_fusions, [config.model.combination])
    from mmfeat.api.trained_model import TrainedModel
    from training.search.run import train as run_training

    with safe_child_processes():
        run_training(config)
    return TrainedModel(config.output)


def compare(features: Path, output: Path, **options: Any) -> Comparison:
    """Compare fusions by quality and cost, as `mmfeat compare`.

    Args:
        features: directory of the features.
        output: directory of the comparison.
        options: the fields of `training.compare.config.CompareConfig` and of its groups.
    """
    from training.columns import check_columns
    from training.compare.config import CompareConfig

    given = {"features": features, "output": output, **options}
    config = make_config(CompareConfig, given, source="compare")
    check_columns(config, "comparison", config.named_fusions, config.named_combinations)
    from training.compare.run import compare as run_comparison

    with safe_child_processes():
        run_comparison(config)
    return Comparison(config.output)


def evaluate(
    model: Path, features: Path, *, split: str = "test", **decoding: Any
) -> dict[str, Any]:
    """Return the metrics of a model on a split, as `mmfeat evaluate --json` prints them.

    Args:
        model: directory of the model.
        features: directory of the features.
        split: train, val, test, or all for every row with a target.
        decoding: how texts are generated, the fields of
            `mmfeat.models.decoder.decoding_options.DecodingOptions`.
    """
    from training.evaluation.config import EvaluateConfig

    given = {"model": model, "features": features, "split": split, **decoding}
    config = make_config(EvaluateConfig, given, source="evaluate")
    check_finished(config.model, "model")
    check_finished(config.features, "features")
    from mmfeat.features import FeatureStore
    from mmfeat.models.saved_model import load_model
    from training.evaluation.evaluate_model import evaluate_split

    loaded = load_model(config.model)
    loaded.decode_with(config.texts)
    return evaluate_split(loaded, FeatureStore(config.features), config.split)


def score(
    model: Path | Sequence[Path],
    input: Path,
    output: Path,
    *,
    beam_flags: Sequence[str] = (),
    **options: Any,
) -> Predictions:
    """Score every record of a feature store, or of shards, as `mmfeat score`.

    Args:
        model: directory of the model, or a list of several.
        input: directory of the features, or of shards, which are encoded on the way.
        output: directory of the predictions.
        beam_flags: flags of Apache Beam.
        options: the fields of `mmfeat.scoring.ScoreConfig`.
    """
    from mmfeat.scoring import ScoreConfig, Scoring

    models = [*model] if isinstance(model, list | tuple) else [model]
    given = {"model": models[0], "input": input, "output": output, **options}
    if len(models) > 1:
        given["more_models"] = [*models[1:], *options.get("more_models", ())]
    config = make_config(ScoreConfig, given, source="score")
    _run_stage(Scoring(config), beam_flags)
    return Predictions(config.output)


def audit(features: Path, output: Path, **options: Any) -> Audit:
    """List records whose labels or features look wrong, as `mmfeat audit`.

    Args:
        features: directory of the features.
        output: directory of the list and the page.
        options: the fields of `training.audit.config.AuditConfig`, such as `target`.
    """
    from training.audit.config import AuditConfig

    given = {"features": features, "output": output, **options}
    config = make_config(AuditConfig, given, source="audit")
    check_output(config.output, "audit")
    check_finished(config.features, "features")
    from training.audit.audit_store import audit_store

    with safe_child_processes():
        audit_store(config)
    return Audit(config.output)


def search(features: Path, **options: Any) -> "SearchResult":
    """Find the records nearest to a record, a text or an image, as `mmfeat search`.

    Args:
        features: directory of the features.
        options: the fields of `mmfeat.retrieval.SearchConfig`, such as `like` and `count`.

    Returns:
        The records, nearest first: `result.keys`, `result.to_pandas()`.
    """
    from mmfeat.retrieval import SearchConfig, write_result
    from mmfeat.retrieval import search as find

    config = make_config(SearchConfig, {"features": features, **options}, source="search")
    check_finished(config.features, "features")
    result = find(config)
    if config.output:
        write_result(config, result)
    return result


def dedup(features: Path, output: Path, **options: Any) -> Duplicates:
    """Find groups of near-duplicates on cached features, as `mmfeat dedup`.

    Args:
        features: directory of the features.
        output: directory of the groups.
        options: the fields of `mmfeat.deduplication.DedupConfig`.
    """
    from mmfeat.deduplication import DedupConfig, dedup_store

    given = {"features": features, "output": output, **options}
    config = make_config(DedupConfig, given, source="dedup")
    dedup_store(config)
    return Duplicates(config.output)


def export(store: Path, output: Path, **options: Any) -> Export:
    """Write features or predictions as files that other tools read, as `mmfeat export`.

    Args:
        store: directory of features or predictions.
        output: directory of the files.
        options: the fields of `mmfeat.exporting.ExportConfig`.
    """
    from mmfeat.exporting import ExportConfig, export_store

    given = {"store": store, "output": output, **options}
    config = make_config(ExportConfig, given, source="export")
    export_store(config)
    return Export(config.output)


def align_report(model: Path, features: Path, output: Path, **options: Any) -> Ranking:
    """Rank records by how much their modalities disagree, as `mmfeat align-report`.

    Args:
        model: directory of a model of the task align.
        features: directory of the features.
        output: directory of the ranking.
        options: the fields of `training.alignment.config.AlignReportConfig`.
    """
    from training.alignment.config import AlignReportConfig

    given = {"model": model, "features": features, "output": output, **options}
    config = make_config(AlignReportConfig, given, source="align_report")
    check_output(config.output, "ranking")
    check_finished(config.model, "model")
    check_finished(config.features, "features")
    from training.alignment.rank_pairs import rank_pairs

    with safe_child_processes():
        rank_pairs(config)
    return Ranking(config.output)


def verify(path: Path, *, sample: float = 1.0, seed: int = 0, fix: bool = False) -> Verification:
    """Check that every file of a store is as it was written, as `mmfeat verify`.

    Args:
        path: the store.
        sample: fraction of the shards to check, chosen at random.
        seed: seed of the choice.
        fix: remove what is damaged, so that the command that made the store makes it again.

    Returns:
        What was read and what is damaged; `all_damages` is empty if the store is intact.
    """
    given = {"path": path, "sample": sample, "seed": seed, "fix": fix}
    config = make_config(VerifyConfig, given, source="verify")
    result = verify_store(config.path, sample=config.sample, seed=config.seed)
    if config.fix:
        uncommit(result)
    return result


def _run_stage(stage: "Stage", beam_flags: Sequence[str]) -> None:
    stage.check_inputs()
    from pipelines.finished_stage import find_finished

    if not beam_flags and find_finished(stage):
        return
    # Imported late: a mistyped path must not wait for Beam.
    with quiet_import():
        from pipelines.run_stage import run_stage

    with safe_child_processes():
        run_stage(stage, beam_flags)
