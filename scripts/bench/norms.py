"""CPU time of acting and of one DQN update with each normalization, relative to none.

    python scripts/bench/norms.py [--norm NAME ...] [--rounds 20] [--threads 1] [--csv FILE]

All normalizations take turns in one process, on the Nature network with default parameters. Each
figure is the median of paired ratios, of process time with one thread and of wall time with more.
An update is the normalization's two forward passes, a backward pass, the optimizer's clipped step
and the normalization's own step. Parameters follow a colon, and so do two flags of `wnrl.train`:
--norm batch batch:statistics=joint layer:norm-after=activation none:norm-input=batch.
"""

import argparse
import dataclasses
import platform
from functools import partial
from pathlib import Path

import torch
from timing import Row, Work, paired_rebuilt, show, table, timer_of, write_csv
from torch import Tensor, nn
from workloads import ACTIONS, SHAPE, acting, updating

from wnrl._settings import UsageError
from wnrl.doctor.cpus import cpu_model
from wnrl.doctor.memory import keep_freed_memory
from wnrl.nn.networks.q_network import assemble_q_network, build_q_network
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS, get_norm
from wnrl.optim.step import OptimizerSpec
from wnrl.train.flags import one_line

CLIP = 10.0  # DQN's default for the global gradient norm
BASE = "none"


def variant(text: str) -> NetworkSpec:
    """Parse `group:groups=16,eps=1e-4` into the Nature network with this normalization.

    Raises:
        UsageError: the normalization, a parameter or a value is unknown or does not fit.
    """
    name, _, given = text.partition(":")
    parts = [part.partition("=") for part in given.split(",") if part]
    for parameter, equals, value in parts:
        if not equals or not value:
            raise UsageError(
                f"--norm {text}: {parameter!r} has no value; parameters are {name}:NAME=VALUE, "
                "separated by commas"
            )
    parameters = {parameter: value for parameter, _, value in parts}
    norm_input = parameters.pop("norm-input", "none")
    after = parameters.pop("norm-after", None)
    norm = get_norm(name).with_settings(parameters)
    if after is not None:
        norm = dataclasses.replace(norm, after=after)
    spec = NetworkSpec(SHAPE, "uint8", ACTIONS, norm=norm, norm_input=norm_input)
    with torch.device("meta"):  # fail before measuring if it does not fit the network
        assemble_q_network(spec)
    return spec


def network(spec: NetworkSpec) -> nn.Module:
    """The network, with the same initial weights for all."""
    return build_q_network(spec, torch.Generator().manual_seed(0))


def act(spec: NetworkSpec, envs: int) -> Work:
    """One greedy action for each of `envs` environments."""
    return acting(network(spec), envs, "cpu")


def update(spec: NetworkSpec, batch: int) -> Work:
    """One DQN update with this normalization."""
    net, norm = network(spec), spec.norm
    step = OptimizerSpec("adam", 1e-4, max_grad_norm=CLIP, total_updates=1_000_000)

    def see(
        online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor
    ) -> tuple[Tensor, Tensor]:
        q = norm.values(online, target, s_tm1, s_t, select=False)
        return q.q_tm1, q.q_t

    return updating(
        net,
        norm.optimizer(net, step),
        batch,
        "cpu",
        see=see,
        after_step=norm.after_step,
        penalty=norm.penalty,
    )


def main() -> None:
    """Parse the flags, measure, print and write."""
    parser = argparse.ArgumentParser(prog="bench/norms.py", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument(
        "--norm", nargs="+", default=list(NORMS), help="normalizations; none is always measured"
    )
    parser.add_argument(
        "--rounds", type=int, default=20, help="paired timings; a third of them at batch 256"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for torch")
    parser.add_argument(
        "--envs", type=int, nargs="+", default=[1, 8], help="environments per action"
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[32, 256], help="batch sizes of an update"
    )
    parser.add_argument("--csv", type=Path, help="file for the table")
    args = parser.parse_args()
    try:
        variants = {text: variant(text) for text in dict.fromkeys([BASE, *args.norm])}
    except UsageError as error:
        parser.exit(2, f"bench_norms: {one_line(error)}\n")
    keep_freed_memory()  # as in training
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {cpu_model()}, {platform.platform()}")
    rows: list[Row] = []
    for what, sizes, repeats in (("act", args.envs, 20), ("update", args.batches, 1)):
        for size in sizes:
            make = act if what == "act" else update
            makers = {text: partial(make, spec, size) for text, spec in variants.items()}
            rounds = args.rounds if size < 256 else max(2, args.rounds // 3)
            times = paired_rebuilt(makers, rounds, repeats, timer_of("cpu", args.threads))
            rows += table(times, where="cpu", what=what, size=size, threads=args.threads)
            show(rows[-len(makers) :])
    if args.csv:
        write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
