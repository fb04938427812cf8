"""Runs every stage with the code of one source tree, in a folder that holds `inputs/`.

FOLDER/shard/ extract/ train/ compare/ align/ score/   what the commands write
FOLDER/stdout/    of commands that print JSON or YAML
FOLDER/refused/   the error of commands that must be refused
FOLDER/console/   what all commands say, with times in it
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

COMMANDS = """
shard inputs/raw/records.csv shard/main --samples-per-shard 25 --validate decode
shard inputs/raw/records.csv shard/retried --samples-per-shard 40 --require image,text
shard inputs/raw/packed.csv.gz shard/csv_gz --max-shard-bytes 20000 --max-file-bytes 2500
shard inputs/raw/plain.csv shard/outside --allow-outside --duplicate-keys suffix --processes 2 --samples-per-shard 20
shard inputs/forms/records.tsv shard/tsv --shuffle none --shard-name part-%03d-x
shard inputs/forms/records.json shard/json
shard inputs/forms/records.jsonl shard/jsonl --where 'label in ("red", "blue") and len(text) > 3'
shard 'inputs/forms/part-{000..002}.parquet' shard/parquet --keys inputs/forms/keys.txt
shard inputs/forms/embedded.parquet shard/embedded
shard inputs/forms/embedded.parquet shard/embedded_hash --shuffle hash --samples-per-shard 16
shard inputs/forms/base64.jsonl shard/base64
shard inputs/forms/two.csv shard/two --image-column front --image-column back=back
shard inputs/forms/twice.csv shard/dedup --dedup exact --require image
shard inputs/forms/sounds shard/sounds
shard inputs/forms/folder shard/folder
shard inputs/forms/tree shard/tree
shard inputs/forms/tree shard/unlabelled --no-folder-labels --validate none
shard inputs/forms/imagefolder shard/imagefolder
shard inputs/forms/img2dataset shard/img2dataset
shard inputs/forms/foreign.tar shard/foreign
shard shard/main shard/again --samples-per-shard 50 --where 'split == "train"'
shard 'shard/{jsonl,foreign}/*.tar' shard/merged
shard inputs/raw/plain.csv shard/webp --resize 16 --resize-mode keep_ratio --encode webp
shard inputs/raw/plain.csv shard/jpg --resize 24 --resize-mode border --resize-only-if-bigger --encode jpg
shard inputs/raw/plain.csv shard/print --set samples_per_shard=9 --print-config
shard inputs/raw/plain.csv shard/dry --dry-run
!shard inputs/raw/absent.csv shard/absent
!shard inputs/raw/records.csv shard/main --samples-per-shard 26
!shard inputs/raw/plain.csv shard/refused --key-column label
!shard inputs/raw/plain.csv shard/where --where 'colour == "red"'
info shard/main --json
info shard/retried --json

extract shard/main extract/main
extract shard/main extract/main --encoder 'short:text=builtin:text?dim=256&dtype=float32&normalize=1'
extract shard/main extract/tokens --precision float32 --batch-size 8 --encoder 'patches:image=torch:inputs/encoders/cnn.pt2?output=tokens&max_tokens=3' --encoder 'words:text=hf:inputs/encoders/bert?output=tokens&max_tokens=8' --encoder rnn:text=rnn:inputs/encoders/rnn --encoder vectors:text=embedding:inputs/encoders/vectors.txt
extract shard/two extract/two
extract shard/jpg extract/jpg --encoder image=builtin:image --full-decoding
extract shard/retried extract/retried
mend
shard inputs/raw/records.csv shard/retried --samples-per-shard 40 --require image,text --retry-failed
extract shard/retried extract/retried
!extract shard/main extract/main --encoder text=builtin:text?dim=128
info shard/retried --json
info extract/retried --json
info extract/tokens --json

train extract/main train/gmu --target label --modalities image,text,audio --hidden 16 --lr 0.003 --epochs 4
train extract/main train/labels --task multilabel --target tags --fusion concat --combination bilinear --group-column owner --hidden 16 --lr 0.003 --epochs 3 --auxiliary 1 --metric macro_f1 --modalities image,short
train extract/main train/price --task regression --target price --fusion lmf --combination linear --hidden 16 --epochs 2 --access blocks
train extract/main train/logistic --target label --modalities short
train extract/main train/ridge --task regression --target price --fusion ridge --modalities image,short
train extract/main train/late --target label --fusion late_stacked --imbalance class_weights --modalities image,text --hidden 16 --lr 0.003 --epochs 2
train extract/tokens train/tokens --target label --fusion co_attention --modalities patches,words --hidden 16 --lr 0.003 --epochs 2
train extract/tokens train/resampler --target label --fusion resampler --hidden 16 --lr 0.003 --epochs 2
train extract/retried train/text --target label --modalities text --split-column split
train extract/main train/print --target label --lr 0.002 --set model.hidden=32 --print-config
!train extract/main train/absent --target colour
evaluate train/gmu extract/main --json
evaluate train/labels extract/main --split val --json
evaluate train/price extract/main --split all --json
evaluate train/tokens extract/tokens --json
evaluate train/text extract/retried --split train --json
report train/gmu --worst 5
info train/gmu --json

compare extract/main compare/two --target label --fusions gmu,concat --seeds 2 --epochs 2 --lr 0.003 --hidden 16 --modalities image,text --emap-rows 12
compare extract/main compare/all --target label --seeds 1 --epochs 1 --lr 0.003 --hidden 8 --modalities image,text --emap-rows 4 --workers 1 --pick cheapest-tied
report compare/two
evaluate compare/two/winner extract/main --json
info compare/two --json

train extract/main align/space --task align --combination linear --hidden 16 --lr 0.003 --epochs 2 --modalities image,text
train extract/main align/siglip --task align --align-loss siglip --hidden 16 --lr 0.003 --epochs 2 --modalities image,text,audio
evaluate align/space extract/main --json
align-report align/space extract/main align/ranking
align-report align/siglip extract/main align/own --no-cross-fit --most 10
train extract/main align/clean --target label --lr 0.003 --epochs 2 --hidden 16 --drop-misaligned align/ranking:0.1
info align/ranking --json

score train/gmu extract/main score/gmu
score train/labels extract/main score/labels
score train/price extract/main score/price
score train/logistic extract/main score/logistic
score train/tokens extract/tokens score/tokens
score train/text extract/retried score/text
score align/space extract/main score/space
score compare/two/winner extract/main score/winner
!score train/gmu extract/tokens score/refused
info score/gmu --json
"""  # noqa: E501
"""A command a line. One with ! must be refused; `mend` brings back files that were missing."""

PACKAGES = ("mmfeat", "pipelines", "training")

_WHERE = f"""
import importlib.util
for name in {PACKAGES}:
    print(getattr(importlib.util.find_spec(name), "origin", None) or "")
"""


def run(tree: Path, folder: Path) -> list[str]:
    """Run all commands in a folder; returns those that did not end as they must.

    Args:
        tree: the sources.
        folder: holds `inputs`; outputs go there.
    """
    # One thread: more would only wait for each other. No folder here shall pass for a package.
    settings = {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    environment = os.environ | settings
    _check_sources(tree, folder, environment)
    module = "mmfeat" if (tree / "mmfeat" / "__main__.py").is_file() else "mmfeat.cli"
    for name in ("stdout", "refused", "console"):
        (folder / name).mkdir()
    failed = []
    for number, line in enumerate(filter(None, COMMANDS.splitlines()), 1):
        if line == "mend":
            shutil.copytree(folder / "inputs" / "mended", folder / "inputs/raw", dirs_exist_ok=True)
            continue
        refused = line.startswith("!")
        arguments = shlex.split(line.removeprefix("!"))
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
        )
        name = f"{number:02}-{arguments[0]}"
        said = f"{line}\n{done.returncode}\n".encode() + done.stdout + done.stderr
        (folder / "console" / f"{name}.txt").write_bytes(said)
        if "--json" in arguments or "--print-config" in arguments:
            suffix = ".json" if "--json" in arguments else ".yaml"
            (folder / "stdout" / (name + suffix)).write_bytes(done.stdout)
        if refused:
            (folder / "refused" / f"{name}.txt").write_bytes(done.stderr)
        if (done.returncode != 0) != refused:
            failed.append(said.decode(errors="replace"))
    return failed


def _check_sources(tree: Path, folder: Path, environment: dict[str, str]) -> None:
    """Raise RuntimeError unless all that Python finds of mmfeat is that of the tree."""
    command = [sys.executable, "-c", _WHERE]
    found = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    for name, origin in zip(PACKAGES, found.stdout.split("\n"), strict=False):
        at_home = Path(origin).resolve().is_relative_to(tree.resolve()) if origin else True
        if not at_home or (name == "mmfeat" and not origin):
            raise RuntimeError(f"{name} of {tree} must be imported, not {origin or 'nothing'}")
