"""Every reader reads all inputs that a fuzzer ever found, and some mutants."""

from random import Random

import pytest

from tests.fuzz.main import CORPUS, fuzz_targets
from tests.fuzz.mutations import mutate_bytes, mutate_json
from tests.fuzz.planted import TARGETS as PLANTED
from tests.fuzz.registry import TARGETS

MUTANTS = 20
MAX_CORPUS_BYTES = 200_000


@pytest.mark.slow
def test_readers_read_the_corpus_and_some_mutants():
    results = fuzz_targets([*TARGETS], count=MUTANTS)
    assert {name: [*result["found"]] for name, result in results.items() if result["found"]} == {}
    for name, result in results.items():
        assert result["inputs"] == MUTANTS + len([*(CORPUS / name).glob("*")]), name


def test_the_corpus_is_small_and_each_input_has_a_target():
    assert {folder.name for folder in CORPUS.iterdir()} <= {*TARGETS}
    assert sum(file.stat().st_size for file in CORPUS.glob("*/*")) <= MAX_CORPUS_BYTES


def test_planted_faults_are_found():
    results = fuzz_targets(
        [*PLANTED], count=30, registry="tests.fuzz.planted", options=["--cpu-seconds", "3"]
    )
    kinds = {name: {kind.split(" at ")[0] for kind in r["found"]} for name, r in results.items()}
    assert kinds == {
        "crash": {"killed by SIGSEGV"},
        "hang": {"HangError"},
        "grow": {"MemoryGrowthError"},
        "allocate": {"MemoryError"},
        "raise": {"KeyError"},
        "intact": set(),
    }
    assert results["intact"]["inputs"] == 30
    for name, result in results.items():
        assert all(b"}" not in data for data in result["found"].values()), name


@pytest.mark.parametrize("mutate", [mutate_bytes, mutate_json])
def test_mutants_depend_on_the_seed_only(mutate):
    def mutants(seed):
        random = Random(seed)
        return [mutate(random, [b'{"a": [1, "x"]}', b"[]"], [b"token"]) for _ in range(200)]

    assert mutants(1) == mutants(1)
    assert mutants(1) != mutants(2)
    assert len({*mutants(1)}) > 100
