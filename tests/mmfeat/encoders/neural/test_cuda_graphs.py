from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from mmfeat.encoders.neural.cuda_graphs import Graph, GraphedForward

CPU = torch.device("cpu")


class FakeGraph:
    """Computes as a graph does: for inputs of one shape, one thread at a time."""

    made = 0

    def __init__(self, compute, inputs, device):
        type(self).made += 1
        self._compute, self._shape, self._busy = compute, inputs["x"].shape, False
        self.checked = False

    def run(self, inputs):
        assert inputs["x"].shape == self._shape
        assert not self._busy
        self._busy = True
        try:
            return self._compute(inputs)
        finally:
            self._busy = False


@pytest.fixture
def graphs():
    class Graphs(FakeGraph):
        made = 0

    return Graphs


def double(inputs):
    return 2 * inputs["x"]


def batch(rows, start=0):
    return {"x": torch.arange(start, start + rows, dtype=torch.float32)[:, None]}


def test_the_second_batch_of_a_shape_makes_a_graph(graphs):
    forward = GraphedForward(CPU, graphs)
    for start in range(4):
        assert forward(double, batch(8, start)).equal(double(batch(8, start)))
        assert graphs.made == (start > 0)


def test_other_shapes_are_computed_without_a_graph(graphs):
    forward = GraphedForward(CPU, graphs)
    for rows in (8, 8, 3, 8, 3, 8):
        assert forward(double, batch(rows)).equal(double(batch(rows)))
    assert graphs.made == 1


def test_a_shape_that_stays_gets_the_graphs(graphs):
    forward = GraphedForward(CPU, graphs)
    for rows in [8] * 4 + [4] * 20:
        assert forward(double, batch(rows)).equal(double(batch(rows)))
    assert graphs.made == 2
    assert forward(double, batch(8)).equal(double(batch(8)))


def test_a_model_that_cannot_be_captured_is_computed_as_before():
    calls = []

    def refuse(compute, inputs, device):
        calls.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    forward = GraphedForward(CPU, refuse)
    for start in range(6):
        assert forward(double, batch(8, start)).equal(double(batch(8, start)))
    assert len(calls) == 1


def test_a_graph_with_other_features_is_not_used():
    class Wrong(FakeGraph):
        def run(self, inputs):
            return super().run(inputs) + 1

    forward = GraphedForward(CPU, Wrong)
    for start in range(6):
        assert forward(double, batch(8, start)).equal(double(batch(8, start)))
    assert Wrong.made == 1


def test_a_graph_that_keeps_values_of_its_first_batch_is_not_used():
    class Frozen(FakeGraph):
        def __init__(self, compute, inputs, device):
            super().__init__(compute, inputs, device)
            self._first = compute(inputs)

        def run(self, inputs):
            return self._first

    forward = GraphedForward(CPU, Frozen)
    for start in range(6):
        assert forward(double, batch(8, start)).equal(double(batch(8, start)))
    assert Frozen.made == 1


def test_a_graph_that_fails_later_is_computed_as_before():
    class Failing(FakeGraph):
        def run(self, inputs):
            if self.checked:
                raise RuntimeError("replay failed")
            return super().run(inputs)

    forward = GraphedForward(CPU, Failing)
    for start in range(6):
        assert forward(double, batch(8, start)).equal(double(batch(8, start)))
    assert Failing.made == 1


def test_an_interrupted_capture_blocks_no_thread():
    class Interrupted(FakeGraph):
        def __init__(self, compute, inputs, device):
            super().__init__(compute, inputs, device)
            if type(self).made <= 3:
                raise KeyboardInterrupt

    forward = GraphedForward(CPU, Interrupted)
    forward(double, batch(8))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            forward(double, batch(8))
    for start in range(4):
        assert forward(double, batch(8, start)).equal(double(batch(8, start)))
    assert Interrupted.made == 4


def test_features_that_are_not_finite_are_compared_too(graphs):
    def divide(inputs):
        return inputs["x"] / 0

    forward = GraphedForward(CPU, graphs)
    for _ in range(4):
        assert torch.isnan(forward(divide, batch(8))[0]).all()
    assert forward._free


def test_batches_that_fail_do_not_use_up_the_graphs(graphs):
    def fail(inputs):
        raise torch.OutOfMemoryError("too much")

    forward = GraphedForward(CPU, graphs)
    for _ in range(6):
        with pytest.raises(torch.OutOfMemoryError):
            forward(fail, batch(8))
    for start in range(3):
        assert forward(double, batch(8, start)).equal(double(batch(8, start)))
    assert graphs.made == 1


def test_disabled_graphs_are_dropped(graphs):
    forward = GraphedForward(CPU, graphs)
    for _ in range(3):
        forward(double, batch(8))
    forward.disable()
    for start in range(20):
        assert forward(double, batch(8, start)).equal(double(batch(8, start)))
    assert graphs.made == 1
    assert not forward._free


def test_threads_share_two_graphs(graphs):
    forward, started = GraphedForward(CPU, graphs), Barrier(4)

    def run(thread):
        started.wait()
        for start in range(200):
            x = batch(8, 1000 * thread + start)
            if not forward(double, x).equal(double(x)):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(4)))
    assert 1 <= graphs.made <= 2


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_on_a_gpu_has_the_same_bytes():
    torch.manual_seed(0)
    device = torch.device("cuda", 0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 32))
    model = model.half().to(device).eval()

    def compute(inputs):
        return model(inputs["x"].half()).float()

    batches = [{"x": torch.rand(128, 64).to(device)} for _ in range(5)]
    with torch.inference_mode(), torch.cuda.stream(torch.cuda.Stream(device)):
        graph = Graph(compute, batches[0], device)
        for inputs in batches:
            assert graph.run(inputs).equal(compute(inputs).cpu())
