"""Runs every stage with the code of one source tree, in a folder that holds `inputs/`.

PYTHONPATH=TREE PYTHONSAFEPATH=1 python tests/golden/run.py TREE FOLDER

FOLDER/shard/ extract/ train/ compare/ align/ score/   what the commands write
FOLDER/printed/   JSON and YAML that commands print
FOLDER/refused/   the errors of commands that must be refused
FOLDER/console/   what else they say, with times in it
"""

import atexit
import gc
import importlib
import logging
import os
import runpy
import shlex
import shutil
import sys
import traceback
from pathlib import Path
from typing import NoReturn

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

PRELOADED = (
    "apache_beam.runners.direct.direct_runner",
    "matplotlib.pyplot",
    "pyarrow.dataset",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.metrics",
    "torch._dynamo",
    "tyro",
)
"""Of others, what takes long to import: the fork of a process that has it starts quickly."""


def run(tree: Path, folder: Path) -> int:
    """Run all commands; returns how many did not end as they must.

    Args:
        tree: the sources, first on the path of imports.
        folder: holds `inputs`; outputs go there.
    """
    logging.basicConfig(level="ERROR")  # as mmfeat does before it imports anything
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    os.chdir(folder)
    for name in ("printed", "refused", "console"):
        Path(name).mkdir()
    failed = 0
    for number, line in enumerate(filter(None, COMMANDS.splitlines()), 1):
        if line == "mend":
            shutil.copytree("inputs/mended", "inputs/raw", dirs_exist_ok=True)
            continue
        refused = line.startswith("!")
        arguments = shlex.split(line.removeprefix("!"))
        name = f"{number:02}-{arguments[0]}.txt"
        printed = "--json" in arguments or "--print-config" in arguments
        out = Path("printed" if printed else "console", name)
        if "--json" in arguments:
            out = out.with_suffix(".json")
        errors = Path("refused" if refused else "console", f"errors-{name}")
        child = os.fork()
        if not child:
            _become(tree, arguments, out, errors)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code not in ((1, 2) if refused else (0,)):
            failed += 1
            print(f"ended with {code}: mmfeat {line}\n{errors.read_text()}", flush=True)
    gc.unfreeze()
    return failed


def _become(tree: Path, arguments: list[str], out: Path, errors: Path) -> NoReturn:
    """Be the command `mmfeat` of a tree, as `python -m` would start it."""
    for stream, path in ((1, out), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = ["mmfeat", *arguments]
    module = "mmfeat" if (tree / "mmfeat" / "__main__.py").is_file() else "mmfeat.cli"
    code: object = 99  # neither success nor a refusal
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    if strangers := _modules_outside(tree):
        sys.stderr.write(f"not of {tree}: {strangers}\n")
        code = 99
    # An end without taking all modules down, which takes longer than many a command.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def _modules_outside(tree: Path) -> list[str]:
    """Modules of mmfeat that were imported from elsewhere than the tree."""
    found = []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name.split(".")[0] in PACKAGES and path and not Path(path).is_relative_to(tree):
            found.append(path)
    return found


if __name__ == "__main__":
    sys.exit(1 if run(Path(sys.argv[1]), Path(sys.argv[2])) else 0)
