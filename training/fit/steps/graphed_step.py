"""Training steps that a GPU replays: one launch for all kernels of a step.

A step of a small model has several hundred kernels of a few microseconds each. Launching them one
by one takes longer than running them. A CUDA graph is captured once and launched as a whole; it
runs the same kernels on the same memory, so it computes the same values.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmfeat.system import print_err

WARM_UP = 3
"""Steps of each shape that run without a graph. They initialize libraries and the optimizer."""

MIN_STEPS = 100
"""Steps of a training from which graphs pay: capturing one takes as long as about 20 steps."""

Replay = Callable[[], Tensor]


def capture_cuda_graph(function: Callable[[], Tensor], stream: torch.cuda.Stream | None) -> Replay:
    """Capture the kernels of a function, without running them.

    Args:
        function: reads and writes tensors that stay where they are, and returns a tensor.
        stream: a stream that the function has run on before.

    Returns:
        A function that runs the kernels and returns the same tensor each time, with new values.

    Raises:
        RuntimeError: the function waits for a result of the GPU.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        # Another thread may copy the next block of rows meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = function()
    except BaseException:
        _end_capture_of_random_numbers()
        raise

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def _end_capture_of_random_numbers() -> None:
    """Let torch draw random numbers again: its generator waits for the end of a failed capture."""
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    generator.graphsafe_set_state(generator.clone_state())


CAPTURE: Callable[[Callable[[], Tensor], torch.cuda.Stream | None], Replay] = capture_cuda_graph


class _CapturedStep(NamedTuple):
    inputs: tuple[Tensor, ...]
    replay: Replay


class GraphedStep:
    """A step that runs as a CUDA graph once its inputs have had the same shapes a few times.

    The first steps run as they are, on a stream of their own. They are steps like all others, so
    nothing has to be undone. If a step cannot be captured, all steps run as they are, and a line
    says why.

    Args:
        step: computes a loss, shape [], from tensors on the device, and changes the weights.
        device: the device.
        prepare: called before a capture, to release what the steps before have allocated.
    """

    def __init__(
        self,
        step: Callable[..., Tensor],
        device: torch.device,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self._step = step
        self._prepare = prepare
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._warm_ups: Counter[tuple[torch.Size, ...]] = Counter()
        self._captured: dict[tuple[torch.Size, ...], _CapturedStep] = {}
        self._failed = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Take a step and return its loss, shape []. The next step may overwrite the loss."""
        shapes = tuple(tensor.shape for tensor in inputs)
        captured = self._captured.get(shapes) or self._capture_if_due(shapes, inputs)
        if captured is None:
            return self._run(*inputs)
        static, replay = captured
        for target, source in zip(static, inputs, strict=True):
            target.copy_(source)
        return replay()

    def _run(self, *inputs: Tensor) -> Tensor:
        """Run the step, on the stream of the graphs: gradients remember their first stream."""
        if self._stream is None:
            return self._step(*inputs)
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            loss = self._step(*inputs)
        current.wait_stream(self._stream)
        return loss

    def _capture_if_due(
        self, shapes: tuple[torch.Size, ...], inputs: tuple[Tensor, ...]
    ) -> _CapturedStep | None:
        """Capture the step once there were enough of these shapes; None = not yet, or it failed."""
        self._warm_ups[shapes] += 1
        if self._failed or self._warm_ups[shapes] <= WARM_UP:
            return None
        static = tuple(tensor.clone() for tensor in inputs)
        self._prepare()
        try:
            replay = CAPTURE(lambda: self._step(*static), self._stream)
        except RuntimeError as error:
            self._failed = True
            self._captured.clear()
            reason = str(error).strip().split("\n")[0]
            print_err(f"train: steps are launched kernel by kernel, no CUDA graph: {reason}")
            return None
        self._captured[shapes] = _CapturedStep(static, replay)
        return self._captured[shapes]


def can_be_captured(module: nn.Module) -> bool:
    """Whether only code of mmfeat and torch runs in a step.

    Code of others may draw random numbers or choose layers in Python, which a graph would freeze.
    """
    names = (type(child).__module__ for child in module.modules())
    return all(name.partition(".")[0] in ("mmfeat", "training", "torch") for name in names)
