"""The command `mmfeat align-report`: the records whose modalities disagree most."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmfeat.config.flags import FeaturesPath, ModelPath, OutputPath, parse
from mmfeat.errors import MmfeatError


@dataclass(frozen=True)
class AlignReportConfig:
    """List the records whose modalities disagree most, such as a picture with another's text.

    Writes OUTPUT/misaligned.parquet, which `mmfeat train --drop-misaligned OUTPUT` reads.
    """

    model: ModelPath
    """Directory that `mmfeat train --task align` wrote."""
    features: FeaturesPath
    """Directory that `mmfeat extract` wrote, with the columns the model was trained on."""
    output: OutputPath
    """Directory of the list."""
    most: int | None = None
    """Records to list at most, the worst ones; None = all."""
    cross_fit: bool = True
    """Let two models judge, each trained as MODEL was on the other half of the training records: a
    model thinks too well of the pairs it was trained on. Without, MODEL itself judges, as it does
    in `mmfeat score`: for records that it was not trained on."""
    threads: int = 1
    """Threads of a matrix product."""

    def __post_init__(self) -> None:
        for name in ("most", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise MmfeatError(f"--{name} must be at least 1", got=value)


def main(arguments: Sequence[str]) -> None:
    """Run the stage."""
    config = parse(AlignReportConfig, arguments, prog="mmfeat align-report")
    # Here and not above: --help and a mistyped flag shall not wait for torch.
    from training.alignment.rank_pairs import rank_pairs

    rank_pairs(config)
