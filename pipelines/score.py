"""The command `mmfeat score`: models + features or shards → predictions."""

import sys
from collections.abc import Sequence
from dataclasses import fields

from mmfeat.config import parse_known_args
from mmfeat.scoring import ScoreConfig, Scoring
from mmfeat.system import run_main, waiting_for
from pipelines.finished_stage import find_finished


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    words = name_more_models(arguments)
    config, beam_flags = parse_known_args(ScoreConfig, words, prog="mmfeat score")
    stage = Scoring(config)
    stage.check_inputs()
    if not beam_flags and find_finished(stage):
        return
    # Beam loads slowly. --help, a mistyped flag or a mistyped path do not wait for it.
    with waiting_for("loading Apache Beam"):
        from pipelines.run_stage import run_stage

    run_stage(stage, beam_flags)


_TRUTH_VALUES = {
    f"--{prefix}{field.name.replace('_', '-')}"
    for field in fields(ScoreConfig)
    if field.type is bool
    for prefix in ("", "no-")
} | {"--help", "-h", "--print-config"}
"""Flags without a value."""

_PATHS = 3
"""MODEL INPUT OUTPUT."""


def name_more_models(arguments: Sequence[str]) -> list[str]:
    """Return `MODEL INPUT OUTPUT --more-models=MODEL` for `MODEL MODEL INPUT OUTPUT`.

    A word after an unknown flag may be its value. It stays where it is and counts as no path.
    """
    words = list(arguments)
    places = []
    follows_flag = False
    for place, word in enumerate(words):
        if word.startswith("-"):
            follows_flag = "=" not in word and word not in _TRUTH_VALUES
            continue
        if not follows_flag:
            places.append(place)
        follows_flag = False
    more = places[1 : 1 - _PATHS] if len(places) > _PATHS else []
    flags = [f"--more-models={words[place]}" for place in more]
    return [word for place, word in enumerate(words) if place not in more] + flags


if __name__ == "__main__":
    sys.exit(run_main(main))
