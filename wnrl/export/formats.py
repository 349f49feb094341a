"""The table of formats, and the files that they make of a run."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from wnrl._settings import UsageError
from wnrl.export import card as cards
from wnrl.export import program, weights
from wnrl.export.trained_run import TrainedRun
from wnrl.train.storage.run_folder import CONFIG
from wnrl.train.untrusted.files import MEBIBYTE, read_bytes

SB3 = "sb3.zip"
CONTENTS = {
    weights.PLAIN: "weights of the folded network, with torch's own layers",
    weights.VECTORS: "the same with gains `<name>_g` and vectors `<name>_v`, as they are trained",
    program.TORCH: "the policy for `torch.export.load`; observations in, action out",
    program.ONNX: "the policy for ONNX Runtime and others; observations in, action out",
    SB3: "the policy for Stable-Baselines3",
    cards.CARD: "this card",
    CONFIG: "every setting of the run",
}


class Export(NamedTuple):
    """The files of an export, not yet written."""

    files: Mapping[str, bytes]  # by name
    left_out: Mapping[str, str]  # format -> why


def _sb3_files(run: TrainedRun) -> dict[str, bytes]:
    from wnrl.export.sb3_file import sb3_file  # slow to import

    return {SB3: sb3_file(run)}


# In the order in which they are made; the card comes last, because it lists the others.
_FORMATS: Mapping[str, Callable[[TrainedRun], dict[str, bytes]]] = {
    "safetensors": weights.weight_files,
    "torch-export": lambda run: {program.TORCH: program.torch_file(run)},
    "onnx": lambda run: {program.ONNX: program.onnx_file(run)},
    "sb3": _sb3_files,
}


def make_export(run: TrainedRun, formats: tuple[str, ...], *, hub: bool = False) -> Export:
    """Make the files in memory.

    Args:
        run: the run.
        formats: formats that must be there; none for all that are possible here.
        hub: whether to add what the Hugging Face Hub reads.

    Raises:
        UsageError: a format in `formats` is not possible.
    """
    files: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    for name, make in _FORMATS.items():
        if formats and name not in formats:
            continue
        try:
            files |= make(run)
        except UsageError as error:
            if formats:
                raise
            left_out[name] = str(error).removeprefix(f"format {name}").lstrip(": ")
    if hub:
        files[CONFIG] = _config(run)
    if hub or not formats or "card" in formats:
        listed = {name: CONTENTS[name] for name in (*files, cards.CARD)}
        files[cards.CARD] = cards.card(run, listed, hub=hub).encode()
    return Export(files, left_out)


def _config(run: TrainedRun) -> bytes:
    try:
        return read_bytes(run.folder / CONFIG, MEBIBYTE)
    except OSError as error:
        raise UsageError(f"{run.folder / CONFIG} cannot be read: {error.strerror}") from None
