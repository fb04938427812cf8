"""The command `mmfeat verify`: check every byte of a store, and un-commit what is damaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from mmfeat.cli.store_commands import command_of
from mmfeat.config import metavar, parse_args
from mmfeat.errors import MmfeatError
from mmfeat.system import print_out, show_summary
from mmfeat.verification import Damage, Verification, uncommit, verify_store


@dataclass
class VerifyConfig:
    """Check that every file of a store is as it was written: its size, its digests, its receipt,
    that it can be read, that its rows align with those of the other files, and that all counts add
    up. The command prints one line for each damaged file and exits with 1 if there is one."""

    path: Annotated[str, tyro.conf.Positional, metavar("PATH")]
    """The store: shards, features, a model, a comparison or predictions."""
    sample: float = 1.0
    """Fraction of the shards to check, chosen at random: 0.1 checks a tenth."""
    seed: int = 0
    """Seed of the random choice."""
    fix: bool = False
    """Remove what is damaged, receipts first, so that the command that made the store makes it
    again."""

    def __post_init__(self) -> None:
        if not 0 < self.sample <= 1:
            raise MmfeatError("--sample must be above 0 and at most 1", got=self.sample)


def main(arguments: Sequence[str]) -> None:
    """Verify a store.

    Raises:
        MmfeatError: files are damaged and not removed.
    """
    config = parse_args(VerifyConfig, arguments, prog="mmfeat verify")
    result = verify_store(
        config.path, sample=config.sample, seed=config.seed, on_damage=_print_damage
    )
    show_summary(f"verify {config.path}", _summary(result, config))
    damages = result.all_damages
    if not damages:
        return
    command = command_of(result.kind, config.path)
    files = "1 file is damaged" if len(damages) == 1 else f"{len(damages):,} files are damaged"
    if not config.fix:
        raise MmfeatError(
            f"{files} in {config.path}",
            cure="Restore from a copy, or run it with --fix and then make again what is removed: "
            f"{command}",
        )
    removed = uncommit(result)
    for path in removed:
        print_out(f"un-committed: {path}")
    print_out(f"Make them again with the command that made the store: {command}")


def _print_damage(damage: Damage) -> None:
    print_out(f"damaged: {damage.path} {damage.problem}")


def _summary(result: Verification, config: VerifyConfig) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": result.kind, "finished": "yes" if result.finished else "no"}
    if result.all_shards:
        facts["shards"] = f"{result.shards:,} of {result.all_shards:,}"
        if result.shards < result.all_shards:
            facts["chosen"] = f"--sample {config.sample:g} --seed {config.seed}"
    speed = result.bytes / 1e6 / max(result.seconds, 1e-9)
    return facts | {
        "files": result.files,
        "read": f"{result.bytes / 1e6:,.1f} MB, {speed:,.0f} MB/s",
        "time": f"{result.seconds:.1f} s",
        "damaged files": len(result.all_damages),
    }
