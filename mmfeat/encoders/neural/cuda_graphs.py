"""CUDA graphs: a forward pass of full batches, launched at once instead of operation by operation.

Launching the operations of a small model from Python takes longer than the GPU needs to run them,
and each launch waits for the threads that read and decode. A graph has the same kernels, so it has
the same bytes; this is checked when a graph is made.
"""

import logging
from collections.abc import Callable, Mapping
from threading import Condition, Lock

import torch
from torch import Tensor

Compute = Callable[[Mapping[str, Tensor]], Tensor]
"""A function from inputs on the device to features there, float32."""

_Key = tuple[tuple[str, tuple[int, ...], torch.dtype], ...]

_GRAPHS = 2
"""Batches that are computed at the same time. A graph keeps the memory of its batch."""

_FIRST_AFTER, _OTHER_AFTER = 2, 16
"""Batches of one shape in a row before a graph is made: the first, and one of another shape."""

_CAPTURE = Lock()
"""Held while a graph is captured: one at a time, in any thread."""

_log = logging.getLogger(__name__)


class GraphedForward:
    """Runs a forward pass on a GPU; batches of the most common shape as CUDA graphs.

    Any failure of a graph falls back to launching each operation. Several threads may call it.

    Args:
        device: the GPU.
        make_graph: from the function and inputs to a graph. Tests replace it.
    """

    def __init__(
        self,
        device: torch.device,
        make_graph: "Callable[[Compute, Mapping[str, Tensor], torch.device], Graph] | None" = None,
    ) -> None:
        self._device = device
        self._make_graph = make_graph or Graph
        self._changed = Condition()
        self._key: _Key | None = None  # of the graphs
        self._streak: tuple[_Key | None, int] = (None, 0)
        self._free: list[Graph] = []
        self._made = self._era = 0  # an era is the time between two changes of the shape
        self._enabled = True

    def __call__(self, compute: Compute, inputs: Mapping[str, Tensor]) -> Tensor:
        """Compute the features of a batch: float32, on the CPU.

        Args:
            compute: the forward pass; the same one in all calls.
            inputs: tensors on the device, ready in the stream of the caller.

        Raises:
            OutOfMemoryError: of torch; the memory of the GPU does not hold the batch.
        """
        key = _describe(inputs)
        if not self._wants_graph(key):
            return compute(inputs).cpu()
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._can_make or key != self._key)
            graph = self._free.pop() if self._free and key == self._key else None
            makes, era = graph is None and self._can_make and key == self._key, self._era
            self._made += makes
        if graph:
            return self._run(graph, era, compute, inputs)
        try:
            features = compute(inputs).cpu()
        except BaseException:
            self._uncount(era, makes)
            raise
        if makes:
            self._make(era, compute, inputs, features)
        return features

    def _run(
        self, graph: "Graph", era: int, compute: Compute, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        try:
            features = graph.run(inputs)
            if not graph.checked:  # with another batch than that of the capture
                _require_equal(features, compute(inputs).cpu())
                graph.checked = True
        except Exception as error:
            self._give_up(error)
            return compute(inputs).cpu()
        except BaseException:
            self._uncount(era, True)
            raise
        self._keep(era, graph)
        return features

    def _uncount(self, era: int, counted: bool) -> None:
        """Let another graph be made in the place of one that is lost."""
        with self._changed:
            if era == self._era:
                self._made -= counted
                self._changed.notify_all()

    @property
    def _can_make(self) -> bool:
        return self._made < _GRAPHS

    def _wants_graph(self, key: _Key) -> bool:
        """Count a batch, and return whether its shape is common enough for a graph."""
        with self._changed:
            last, count = self._streak
            count = count + 1 if key == last else 1
            self._streak = (key, count)
            if not self._enabled or key == self._key:
                return self._enabled
            if count < (_OTHER_AFTER if self._key else _FIRST_AFTER):
                return False
            self._use(key)
            return True

    def _use(self, key: _Key | None) -> None:
        """Drop the graphs, and make those of another shape from now on."""
        with self._changed:
            self._key, self._free, self._made = key, [], 0
            self._era += 1
            self._changed.notify_all()

    def _keep(self, era: int, graph: "Graph") -> None:
        with self._changed:
            if era == self._era:
                self._free.append(graph)
                self._changed.notify()

    def _make(
        self, era: int, compute: Compute, inputs: Mapping[str, Tensor], features: Tensor
    ) -> None:
        """Make a graph, and keep it if it computes the same features of a batch."""
        try:
            with _CAPTURE:
                graph = self._make_graph(compute, inputs, self._device)
            _require_equal(graph.run(inputs), features)
        except Exception as error:  # a model that cannot be captured, or not enough memory
            self._give_up(error)
        except BaseException:
            self._uncount(era, True)
            raise
        else:
            self._keep(era, graph)

    def _give_up(self, error: Exception) -> None:
        _log.debug("no CUDA graphs: %s: %s", type(error).__name__, error)
        self.disable()

    def disable(self) -> None:
        """Make no graphs any more, and free the memory of those that exist."""
        self._enabled = False
        self._use(None)


class Graph:
    """A captured forward pass, with the memory of one batch.

    Args:
        compute: the forward pass.
        inputs: a batch of the shape to capture, on the device.
        device: the GPU.

    Attributes:
        checked: whether it has computed the features of another batch, too.
    """

    def __init__(
        self, compute: Compute, inputs: Mapping[str, Tensor], device: torch.device
    ) -> None:
        self.checked = False
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()
        self._inputs = {name: value.clone() for name, value in inputs.items()}
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            compute(self._inputs)  # libraries choose their kernels and take their workspaces
            try:
                # Other threads go on with their own batches meanwhile.
                with torch.cuda.graph(
                    self._graph, stream=self._stream, capture_error_mode="thread_local"
                ):
                    self._features = compute(self._inputs)
            except BaseException:
                # The generator of random numbers waits for the end of the capture.
                generator = torch.cuda.default_generators[self._stream.device_index]
                generator.graphsafe_set_state(generator.clone_state())
                raise

    def run(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the features of a batch, on the CPU. One thread at a time may call it."""
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            for name, value in inputs.items():
                self._inputs[name].copy_(value, non_blocking=True)
            self._graph.replay()
            return self._features.cpu()


def _require_equal(features: Tensor, expected: Tensor) -> None:
    if not torch.allclose(features, expected, rtol=0, atol=0, equal_nan=True):
        raise RuntimeError("the features of a graph differ")


def _describe(inputs: Mapping[str, Tensor]) -> _Key:
    return tuple((name, tuple(value.shape), value.dtype) for name, value in inputs.items())
