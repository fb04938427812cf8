"""Python loads this at its start if the folder is on PYTHONPATH: then some records are deadly.

Environment variables:
    POISON_DEATHS: folder that gets a file per death.
    POISON_LIMIT: number of deaths after which nothing is deadly any more.
    POISON_TOGETHER: number of deadly records after which a process dies; 1 by default.
    POISON_FEATURE: a .npy file of a feature of the column `text` that is deadly to score.
    POISON_LOAD: any text: no process can load a sharding stage.
    POISON_MODEL: name of a model of a comparison that is deadly to train.
    POISON_ERROR: any text: training that model raises it as an error instead.
"""

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

seen = 0


def meet_poison(together: int = 0) -> None:
    global seen
    seen += 1
    deaths = Path(os.environ["POISON_DEATHS"])
    if seen < (together or int(os.environ.get("POISON_TOGETHER", "1"))):
        return
    if len(list(deaths.iterdir())) < int(os.environ.get("POISON_LIMIT", "1000")):
        (deaths / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def patch_pillow(module) -> None:
    open_image = module.open

    def open_or_die(file, *arguments, **options):
        if b"POISON" in file.getvalue():
            meet_poison()
        return open_image(file, *arguments, **options)

    module.open = open_or_die


def patch_models(module) -> None:
    if "POISON_FEATURE" not in os.environ:
        return
    import numpy as np

    deadly = np.load(os.environ["POISON_FEATURE"])
    run_model = module.run_model

    def run_or_die(model, features, present):
        if (np.asarray(features["text"]) == deadly).all(axis=1).any():
            meet_poison()
        return run_model(model, features, present)

    module.run_model = run_or_die


def patch_sharding(module) -> None:
    if "POISON_LOAD" in os.environ:
        module.Sharding.load = lambda self: meet_poison(1)


def patch_trials(module) -> None:
    run_trial = module.run_trial

    def run_trial_or_die(folder, *arguments):
        if os.environ.get("POISON_MODEL", "no model") in folder:
            if "POISON_ERROR" in os.environ:
                raise ArithmeticError(os.environ["POISON_ERROR"])
            meet_poison()
        return run_trial(folder, *arguments)

    module.run_trial = run_trial_or_die


PATCHES = {
    "PIL.Image": patch_pillow,
    "mmfeat.models.inference": patch_models,
    "mmfeat.sharding.stage": patch_sharding,
    "training.compare.trials": patch_trials,
}


class Patcher:
    """Patches modules after their import."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        patch = PATCHES.pop(name, None)
        if patch is None:
            return None
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_patch(module) -> None:
            load(module)
            patch(module)

        spec.loader.exec_module = load_and_patch
        return spec


sys.meta_path.insert(0, Patcher)
