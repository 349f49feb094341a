"""A recurrent network on the copy task: repeat symbols after a pause.

    python scripts/applications/copying.py --work FOLDER [--out FOLDER] [--jobs 2]

A sequence shows some symbols, then blanks, then as many cues; at each cue the network names the
next of the symbols. Guessing costs log(SYMBOLS) nats. The task is that of Hochreiter & Schmidhuber
1997 as Arjovsky et al. 2016, arXiv 1511.06464, section 5.1, have it, but short. `weight` normalizes
the LSTM, each gate's rows, and the layer after it; `none` is torch's LSTM.
"""

import argparse

import torch
from report import report
from study import POINTS, Run, Study, Variant, add_arguments, blocks_of_losses, prepare
from torch import Tensor, nn
from verdicts import Measure

from wnrl.nn import Norm, get_norm
from wnrl.nn.networks.initialization import owned_global_randomness
from wnrl.optim import OptimizerSpec

VARIANTS = (Variant("none"), Variant("weight"))
LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
BATCH = 32
STEPS = 10 * POINTS
SYMBOLS = 4
SHOWN = 3  # symbols of a sequence
PAUSE = 4  # blanks
UNITS = 32
BLANK, CUE = SYMBOLS, SYMBOLS + 1
HELD_OUT_SEQUENCES = 1_000
HELD_OUT = (
    Measure("error_percent", lambda run: run.held_out["error_percent"], margin=1.0, ratio=False),
)


class Copier(nn.Module):
    """An LSTM and a linear layer: symbols (T, B) -> logits of the answers (SHOWN, B, SYMBOLS)."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.lstm = norm.lstm(SYMBOLS + 2, UNITS)
        self.head = norm.linear(UNITS, SYMBOLS)

    def forward(self, symbols: Tensor) -> Tensor:
        """Read a batch of sequences; answer at the cues."""
        hidden, _ = self.lstm(nn.functional.one_hot(symbols, SYMBOLS + 2).float())
        logits: Tensor = self.head(hidden[-SHOWN:])
        return logits


def sequences(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return inputs (SHOWN + PAUSE + SHOWN, B) and answers (SHOWN, B)."""
    shown = torch.randint(SYMBOLS, (SHOWN, count), generator=generator)
    blanks, cues = torch.full((PAUSE, count), BLANK), torch.full((SHOWN, count), CUE)
    return torch.cat((shown, blanks, cues)), shown


def train(variant: Variant, rate: float, seed: int, steps: int = STEPS) -> Run:
    """Train one network with Adam on fresh sequences; draws come from the seed."""
    generator = torch.Generator().manual_seed(seed)
    norm = get_norm(variant.norm)
    with owned_global_randomness(generator):
        network = Copier(norm)
    optimizer = norm.optimizer(network, OptimizerSpec("adam", rate, max_grad_norm=1.0))
    optimizer.prepare()

    def step(number: int) -> Tensor:
        symbols, answers = sequences(BATCH, generator)
        loss = nn.functional.cross_entropy(network(symbols).flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    losses, cpu_s = blocks_of_losses(step, steps)
    return Run(losses, cpu_s, {"error_percent": error_percent(network)})


@torch.no_grad()
def error_percent(network: nn.Module) -> float:
    """Return the percentage of wrong answers on sequences that are the same for every network."""
    symbols, answers = sequences(HELD_OUT_SEQUENCES, torch.Generator().manual_seed(0))
    return 100 * float((network.eval()(symbols).argmax(-1) != answers).float().mean())


def main() -> None:
    """Run the study, and write its tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    given = prepare(parser.parse_args())
    study = Study("copying", VARIANTS, LEARNING_RATES, train)
    title = f"Copy task, {SHOWN} symbols after {PAUSE} blanks: cross-entropy in training"
    report(study, given, steps=STEPS, title=title, held_out=HELD_OUT)


if __name__ == "__main__":
    main()
