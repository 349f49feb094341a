"""Closed functions of tensors, which a GPU replays as CUDA graphs.

A function is closed if it reads only its inputs and memory that lasts (weights, moments,
statistics), writes only that memory and its outputs, makes the same calls with the same numbers
every time, and never waits for the device. A test checks that of acting and of every agent's
update on a machine without a GPU; no graph has run on a GPU yet.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

WARM_UP = 3  # plain calls before a capture, which make lazy state and compile kernels


class Graph(Protocol):
    """A recording of the work that one call gives a device."""

    def warm_up(self, work: Callable[[], Any]) -> Any:
        """Do the work without recording it; return its outputs."""
        ...

    def capture(self, work: Callable[[], Any]) -> Any:
        """Record the work without doing it; return the memory of its outputs."""
        ...

    def replay(self) -> None:
        """Do the recorded work."""
        ...


MakeGraph = Callable[[], Graph]


class CudaGraph:
    """A CUDA graph, with a stream of its own for warm-up and capture."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()

    def warm_up(self, work: Callable[[], Any]) -> Any:
        """Do the work on the graph's stream; return its outputs."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            outputs = work()
        current.wait_stream(self._stream)
        return outputs

    def capture(self, work: Callable[[], Any]) -> Any:
        """Record the work; return the memory of its outputs, which each replay overwrites."""
        # Another thread may copy a checkpoint from the device meanwhile.
        recording = torch.cuda.graph(
            self._graph, stream=self._stream, capture_error_mode="thread_local"
        )
        with recording:
            return work()

    def replay(self) -> None:
        """Do the recorded work on the current stream."""
        self._graph.replay()


class Captured:
    """A closed function: called plainly at first, then replayed, one graph per shape of inputs.

    What the function does in Python (counters, attributes) happens only while it is called
    plainly or captured, so its caller does such things itself.
    """

    def __init__(self, function: Callable[..., Any], make_graph: MakeGraph) -> None:
        """Take a function.

        Args:
            function: closed; its inputs and outputs are tensors, or tuples, lists and dicts of
                them.
            make_graph: makes an empty graph.
        """
        self._function = function
        self._make_graph = make_graph
        self._recordings: dict[Any, _Recording] = {}

    def __call__(self, *inputs: Any) -> Any:
        """Return the function's outputs, which later calls do not change."""
        tensors, structure = pytree.tree_flatten(inputs)
        shapes = tuple((x.shape, x.dtype) for x in tensors)
        if shapes not in self._recordings:
            self._recordings[shapes] = _Recording(self._make_graph())

        def work(tensors: Sequence[Tensor]) -> Any:
            return self._function(*pytree.tree_unflatten(tensors, structure))

        return self._recordings[shapes].run(work, tensors)


class _Recording:
    """A graph, and the memory of its inputs and outputs."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._calls = 0
        self._inputs: list[Tensor] = []
        self._outputs: Any = None

    def run(self, work: Callable[[Sequence[Tensor]], Any], tensors: Sequence[Tensor]) -> Any:
        """Call plainly, capture or replay."""
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._graph.warm_up(lambda: work(tensors))
        if self._calls == WARM_UP + 1:
            self._inputs = [x.clone() for x in tensors]
            self._outputs = self._graph.capture(lambda: work(self._inputs))
        else:
            for held, given in zip(self._inputs, tensors, strict=True):
                held.copy_(given)
        self._graph.replay()
        return pytree.tree_map(torch.clone, self._outputs)
