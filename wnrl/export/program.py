"""The policy as a program that needs no wnrl: for `torch.export.load`, and as ONNX.

TorchScript is left out: torch 2.13 deprecates it, and names `torch.export` as its successor.

Dimension key: B observations, A actions, H units of an LSTM.
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from wnrl._settings import UsageError
from wnrl.export.trained_run import TrainedRun
from wnrl.nn.networks.heads import PolicyValue

TORCH, ONNX = "policy.pt2", "policy.onnx"
OBSERVATION, STATE = "observation", ("first", "h", "c")
_EXAMPLES = 2  # torch takes a batch of 1 for a constant


class Program(nn.Module):
    """Observations as the environment gives them -> the policy's action, and what it comes from.

    Nothing is random: `action` is the one of highest value or probability. To draw from a
    stochastic policy, draw from softmax(logits).

    Args:
        network: folded, in evaluation mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observation: Tensor) -> tuple[Tensor, ...]:
        """(B, *shape) -> action (B,) int64, and values (B, A), or logits (B, A) and value (B,)."""
        return with_action(self.network(observation))


class RecurrentProgram(Program):
    """The same of a network with an LSTM, whose state the caller keeps; it begins as zeros."""

    def forward(self, observation: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Take one step.

        Args:
            observation: (B, *shape).
            state: first (B,) bool, whether an observation begins an episode; h and c (1, B, H)
                after the step before.

        Returns:
            The outputs of `Program`, then h and c.
        """
        first, h, c = state
        network: Any = self.network
        h, c = (x.masked_fill(first[:, None], 0.0) for x in (h, c))
        hidden, (h, c) = network.lstm(network.torso(observation).unsqueeze(0), (h, c))
        return *with_action(network.read_out(hidden.squeeze(0))), h, c


def with_action(output: Tensor | PolicyValue) -> tuple[Tensor, ...]:
    """Return the action (B,) of a network's output, and the output."""
    if isinstance(output, PolicyValue):
        return output.logits.argmax(dim=1), output.logits, output.value
    return output.argmax(dim=1), output


def output_names(run: TrainedRun) -> tuple[str, ...]:
    """Return the names of the program's outputs."""
    with torch.no_grad():
        output = run.network(_observations(run))
    names = ("logits", "value") if isinstance(output, PolicyValue) else ("values",)
    return ("action", *names, *(("next_h", "next_c") if run.recurrent else ()))


def torch_file(run: TrainedRun) -> bytes:
    """Return a file for `torch.export.load`.

    Raises:
        UsageError: torch cannot export the network.
    """
    names = {"outputs": output_names(run), **run.facts}
    buffer = io.BytesIO()
    torch.export.save(exported(run), buffer, extra_files={"facts.json": json.dumps(names)})
    return buffer.getvalue()


def onnx_file(run: TrainedRun) -> bytes:
    """Return a file of ONNX, with one input per argument of the program and dynamic B.

    Raises:
        UsageError: the packages for it are missing, or torch cannot export the network.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ModuleNotFoundError:
        raise UsageError(
            "format onnx needs the packages onnx and onnxscript: pip install 'wnrl[export]'"
        ) from None
    inputs = (OBSERVATION, *(STATE if run.recurrent else ()))
    with _quiet(), _one_line("onnx"):
        made = torch.onnx.export(
            exported(run),
            input_names=inputs,
            output_names=output_names(run),
            external_data=False,
            verbose=False,
        )
    assert made is not None, "torch's exporter of programs returns one"
    model: Any = made.model_proto  # protobuf declares no types
    onnx.helper.set_model_props(model, run.facts)
    content: bytes = model.SerializeToString()
    return content


def exported(run: TrainedRun) -> ExportedProgram:
    """Return the program, traced, for any number of observations.

    Raises:
        UsageError: torch cannot trace the network.
    """
    network, batch = run.folded(), Dim("batch")
    program = Program(network)
    arguments: tuple[Tensor, ...] = (_observations(run),)
    dynamic: tuple[Any, ...] = ({0: batch},)
    if run.recurrent:
        program = RecurrentProgram(network)
        state = torch.zeros(1, _EXAMPLES, run.spec.lstm_units)
        arguments += (torch.zeros(_EXAMPLES, dtype=torch.bool), state, state.clone())
        dynamic += (({0: batch}, {1: batch}, {1: batch}),)
    with _quiet(), _one_line("torch-export"):
        made = torch.export.export(program.eval(), arguments, dynamic_shapes=dynamic)
    for node in made.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names the folders of this machine
    return made


def _observations(run: TrainedRun) -> Tensor:
    dtype = torch.uint8 if run.spec.dtype == "uint8" else torch.float32
    return torch.zeros(_EXAMPLES, *run.spec.shape, dtype=dtype)


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Report torch's error, which may come from any of its parts, as one of the format."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"format {name}: torch cannot export this network ({type(error).__name__}: {error}); "
            "take format safetensors, and the network from wnrl"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch's exporter says about itself."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(before)
