"""Time the training of a GMU on a GPU: batch sizes, CUDA graphs, compilation, and the limit.

It makes its rows itself and needs no network.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from mmfeat.config import parse_args
from mmfeat.system import print_err, print_out, show_table

COLUMNS = {"image": 512, "text": 384}


@dataclass
class Options:
    """Train a GMU on generated rows of 512 + 384 values that stay on the GPU.

    The last line of the output is one JSON object.
    """

    rows: int = 200_000
    """Training rows."""
    val_rows: int = 20_000
    """Validation rows."""
    epochs: int = 10
    """Epochs of each training."""
    device: Literal["cuda", "cpu"] = "cuda"
    """cpu checks the benchmark itself on a machine without a GPU; nothing is captured there."""
    tiny: bool = False
    """Use a few small rows, likewise."""
    profile: bool = False
    """Also print torch's profile of eager steps and of graphs."""
    no_compile: bool = False
    """Leave out torch.compile, which may take a minute."""
    seconds: float = 90.0
    """Seconds after which no further variant is started."""

    def __post_init__(self) -> None:
        if self.epochs < 2 or self.rows < 1024 or self.val_rows < 1:
            sys.exit("train_gpu: --epochs must be at least 2, --rows 1,024 and --val-rows 1")


@dataclass
class Table:
    """The rows of the table; a variant that fails has its error instead of figures."""

    deadline: float
    lines: list[list[str]] = field(default_factory=list)

    def measure(self, name: str, size: int, function: Callable[[], Any]) -> Any:
        """Return the result of a variant; None if it failed or there was no time left."""
        if time.monotonic() > self.deadline:
            self.add(name, size, note="no time left")
            return None
        print_err(f"train_gpu: {name}, batches of {size:,}")
        try:
            return function()
        except Exception as error:
            self.add(name, size, note=f"{type(error).__name__}: {str(error).splitlines()[:1]}"[:90])
            return None

    def add(self, name: str, size: int, *cells: str, note: str = "") -> None:
        """Add a line."""
        self.lines.append([name, f"{size:,}", *cells, *[""] * (5 - len(cells)), note])

    def show(self, title: str) -> None:
        """Print the table."""
        heads = ["steps", "batch", "rows/s", "with val", "one run s", "accuracy", "lr", "note"]
        show_table(title, heads, self.lines)


def main(arguments: Sequence[str]) -> None:
    """Run all variants, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.train_gpu")
    import torch

    from benchmarks.datasets.classification import make_dataset
    from benchmarks.gpu.training_runs import Bench, without_capture
    from training.fit.steps import graphed_step

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("train_gpu: this machine has no GPU that torch can use")
    table = Table(time.monotonic() + options.seconds)
    columns, hidden, sizes = COLUMNS, 256, [1024, 2048, 4096, 8192, 16384]
    if options.tiny:
        columns, hidden, sizes = {"image": 24, "text": 16}, 16, [64, 128]
    if options.device == "cpu":
        graphed_step.CAPTURE = without_capture
    rows, val_rows = (2048, 512) if options.tiny else (options.rows, options.val_rows)
    print_err(f"train_gpu: make {rows + val_rows:,} rows")
    dataset = make_dataset(columns, rows, val_rows)
    bench = Bench(dataset, torch.device(options.device), options.epochs, "gmu", hidden)
    values = _measure(bench, table, sizes, options)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "no GPU"
    table.show(f"{rows:,} rows of {' + '.join(map(str, columns.values()))}, {device}")
    if options.profile:
        for graphs in (False, True):
            try:
                print_out(f"Profile of 20 steps, {'graphs' if graphs else 'eager'}")
                print(bench.profile(sizes[0], graphs))
            except Exception as error:
                print_out(f"no profile: {error}")
    print(json.dumps(values))


def _measure(bench: Any, table: Table, sizes: Sequence[int], options: Options) -> dict[str, Any]:
    from benchmarks.gpu.training_runs import Run, best_single, equal_weights

    base = sizes[0]
    seconds = 0.2 if options.tiny else 1.5
    found: dict[int, Any] = {}
    bare: dict[int, float] = {}
    for size in sizes:
        run = Run(size)
        found[size] = table.measure(run.name, size, partial(bench.run, run))
        _add(table, run.name, size, found[size])
        bare[size] = table.measure(
            "bare graph, one batch", size, partial(bench.bare_rate, size, True, seconds)
        )
        if bare[size]:
            table.add("bare graph, one batch", size, f"{bare[size]:,.0f}")
    rate = found[base].rate if found[base] else 1e-3
    single = best_single(Run(base), rate)
    eager_run = best_single(Run(base, graphs=False), rate)
    eager = table.measure(eager_run.name, base, partial(bench.run, eager_run))
    _add(table, eager_run.name, base, eager)
    again = table.measure("graph again", base, partial(bench.run, single))
    _add(table, "graph again", base, again)
    for size in sizes[:3:2]:
        run = best_single(Run(size, precision="bfloat16"), rate)
        _add(table, run.name, size, table.measure(run.name, size, partial(bench.run, run)))
    bare_eager = table.measure("bare eager", base, partial(bench.bare_rate, base, False, seconds))
    if bare_eager:
        table.add("bare eager, one batch", base, f"{bare_eager:,.0f}")
    for size in sizes[:3:2] if not options.no_compile else ():
        name = "graph of compiled loss"
        compiled = table.measure(name, size, partial(bench.compiled_rate, size, seconds))
        if compiled:
            note = f"{compiled[1]:.1f} s to compile and capture"
            table.add(name, size, f"{compiled[0]:,.0f}", note=note)
    return _to_json(found, bare, eager, again, equal_weights)


def _add(table: Table, name: str, size: int, figures: Any) -> None:
    if figures is None:
        return
    table.add(
        name,
        size,
        f"{figures.rows_per_s:,.0f}",
        f"{figures.with_validation:,.0f}",
        f"{figures.whole_s:.2f}",
        " ".join(f"{metric:.4f}" for metric in figures.metrics),
        f"{figures.lr:.1e}",
    )


def _to_json(
    found: dict[int, Any],
    bare: dict[int, float],
    eager: Any,
    again: Any,
    equal_weights: Callable[..., bool],
) -> dict[str, Any]:
    from training.recipe import default_batch_size

    base, graph = min(found), found[min(found)]
    default = max((size for size in found if size <= default_batch_size(10**9)), default=base)
    chosen = found[default]
    same = None
    if graph and again:
        same = equal_weights(graph.results[0].module, again.results[0].module)
    same_as_eager = None
    if again and eager:
        same_as_eager = equal_weights(again.results[0].module, eager.results[0].module)
    return {
        "rows_per_s": chosen and round(chosen.rows_per_s),
        "rows_per_s_1024_eager": eager and round(eager.rows_per_s),
        "metric": chosen and chosen.metric,
        "metric_1024": graph and graph.metric,
        "vs_bare": chosen and bare[default] and round(chosen.rows_per_s / bare[default], 3),
        "batch_size": default,
        "metric_1024_eager": eager and eager.metric,
        "same_bytes_again": same,
        "same_bytes_as_eager": same_as_eager,
        "by_batch_size": {
            str(size): {
                "rows_per_s": round(figures.rows_per_s),
                "with_validation": round(figures.with_validation),
                "metrics": list(figures.metrics),
                "lr": figures.lr,
                "bare": bare[size] and round(bare[size]),
            }
            for size, figures in found.items()
            if figures
        },
    }


if __name__ == "__main__":
    main(sys.argv[1:])
