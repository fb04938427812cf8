"""What `mmfeat shard` tells about the records that lack a part: why, and what to do."""

from collections.abc import Mapping
from typing import Any

from mmfeat.sharding.retry import count_passing
from mmfeat.store import format_counts


def damage_advice(problems: Mapping[str, int]) -> list[str]:
    """Return how many records damaged tars have made incomplete, if any.

    Args:
        problems: reason → records.
    """
    number = sum(count for reason, count in problems.items() if "damaged_shard" in reason)
    if not number:
        return []
    subject = "1 record is" if number == 1 else f"{number:,} records are"
    return [
        f"{subject} incomplete because a tar of the input is damaged (damaged_shard). Records "
        "after the damage may be lost. Repair the tar, then shard it into another directory"
    ]


def retry_advice(manifest: dict[str, Any], command: str) -> list[str]:
    """Return how to try records again whose problems can pass, if any.

    Args:
        manifest: manifest of the store.
        command: the command that tries records again.
    """
    passing = count_passing(manifest["totals"]["problems"])
    number = passing.total()
    if not number:
        return []
    subject = "1 record lacks" if number == 1 else f"{number:,} records lack"
    reasons = f"{subject} a part for a reason that can pass"
    if manifest["config"].get("source", {}).get("form") == "tars":
        return [f"{reasons}. Try them again where the tars were made, then shard these again"]
    reasons = f"{reasons} ({format_counts(passing)}). Try them again:"
    return [reasons, f"  {command}"]
