"""Settings that every run has, with any agent and normalization.

Settings of agents and normalizations are next to them; `wnrl.config.config` puts all together.
"""

import dataclasses
import math
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from wnrl._settings import setting
from wnrl.agents.catalogue import AGENTS
from wnrl.envs.protocols import FRAME_SKIP, GAMES_OWN, PROTOCOLS, SCREEN_PIXELS
from wnrl.nn.networks.torsos import AUTO, NATURE, NETWORKS
from wnrl.nn.norms.catalogue import NORMS
from wnrl.nn.norms.inputs import INPUT_NORMS
from wnrl.nn.norms.record import AFTER_ACTIVATION, AFTER_LAYER

OURS = "ours"
NO_TRACKER = "none"
MAX_STEPS = 10**15  # of a run; products with it still fit in 64 bits


class _PresetNames(Collection[str]):
    """The names of all presets now: agents may be registered later."""

    def __iter__(self) -> Iterator[str]:
        names = (name for record in AGENTS.values() for name in record.presets)
        return iter(dict.fromkeys(("none", *names)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name == preset for preset in self)


PRESETS_TEXT = "; ".join(
    f"{agent} has {', '.join(record.presets)}" for agent, record in AGENTS.items() if record.presets
)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings that every run has, with any agent and normalization."""

    env: str = setting("Breakout", "game of Atari or MinAtar, or Gymnasium id", source=OURS)
    env_kwargs: str = setting(
        "",
        "arguments of gymnasium.make, such as continuous=false or map_name=8x8; MinAtar takes "
        "sticky_action_prob and difficulty_ramping",
        source=OURS,
        several="KEY=VALUE",
    )
    agent: str = setting("dqn", "algorithm", source=OURS, choices=AGENTS)
    norm: str = setting(
        "weight",
        "normalization of the network; its parameters are norm.<parameter>",
        source=OURS,
        choices=NORMS,
    )
    norm_where: str = setting(
        "torso",
        "normalized layers, separated by commas: torso, head, policy, value, penultimate, all, or "
        "layer names (conv1 conv2 conv3 fc; hidden1 hidden2; head)",
        source="ours: all hidden layers, as in the papers; penultimate-l2 and simplicial: the last",
    )
    norm_after: str = setting(
        AFTER_LAYER,
        "where activations are normalized: between a layer and its nonlinearity (layer), or after "
        "the nonlinearity (activation)",
        source="Ioffe & Szegedy 2015, section 3.2; CrossQ and penultimate-l2: activation",
        choices=(AFTER_LAYER, AFTER_ACTIVATION),
    )
    norm_input: str = setting(
        "none",
        "normalization of observations in the network: none, batch (batch norm), running (mean and "
        "variance of all that was learned from) or layer; images are then not divided by 255",
        source="none: Mnih et al. 2015; batch: CrossQ, purejaxql; running: SimBa",
        choices=INPUT_NORMS,
    )
    network: str = setting(
        "auto",
        "architecture of the torso (auto: nature for images of at least 36x36, minatar for smaller "
        "ones of at least 5x5, else mlp)",
        source="Mnih et al. 2015",
        choices=ChainMap(NETWORKS, {AUTO: NATURE}),  # others may be registered later
    )
    width: int = setting(
        1, "factor on the channels of impala", source="Espeholt et al. 2018", minimum=1, maximum=64
    )
    stack: int = setting(
        0,
        "frames in an Atari observation (0: 4, or 1 in recurrent runs)",
        source="Mnih et al. 2015",
        minimum=0,
        maximum=64,
    )
    init: str = setting(
        "default",
        "initialization; data adds scales and biases computed from observations of random play",
        source="Salimans & Kingma 2016, section 3",
        choices=("default", "data"),
    )
    init_weights: str = setting(
        "agent",
        "initial weights: the agent's own (agent), those of deep_q_rl with biases of 0.1 "
        "(he), or of deviation 0.05 with biases of 0 (normal)",
        source="the agent's; normal: Salimans & Kingma 2016, section 3",
        choices=("agent", "he", "normal"),
    )
    init_observations: int = setting(
        2_048,
        "observations of random play for the data-dependent initialization",
        unit="observations",
        source="ours; the paper took 500 images",
        minimum=2,
    )
    weight_storage: str = setting(
        "w",
        "storage of weight-normalized weights: w (plain weights; the optimizer steps g and v) or "
        "gv (g and v in the layers)",
        source=OURS,
        choices=("w", "gv"),
    )
    v_norm: str = setting(
        "weight",
        "initial ||v||: the weights' own norm (weight), 0.05 sqrt(fan_in) (paper), or 1 (unit)",
        source="torch's weight_norm",
        choices=("weight", "paper", "unit"),
    )
    preset: str = setting(
        "none",
        f"set of defaults: {PRESETS_TEXT}; fast is ours, the others are published",
        source=OURS,
        choices=_PresetNames(),
    )
    protocol: str = setting(
        "classic",
        "Atari protocol: classic (Mnih et al. 2015) or sticky (Machado et al. 2018)",
        source=OURS,
        choices=PROTOCOLS,
    )
    mode: int = setting(
        GAMES_OWN,
        "mode of the Atari game, by the ALE's number (-1: the game's default)",
        source="Machado et al. 2018, section 6",
        minimum=GAMES_OWN,
        maximum=255,
    )
    difficulty: int = setting(
        GAMES_OWN,
        "difficulty of the Atari game, by the ALE's number (-1: the game's default)",
        source="Machado et al. 2018, section 6",
        minimum=GAMES_OWN,
        maximum=255,
    )
    sticky: float = setting(
        0.0,
        "probability that a frame of Atari repeats the last action (0.25 with protocol sticky)",
        source="Machado et al. 2018, section 5.1",
        minimum=0,
        maximum=1,
    )
    noop_max: int = setting(
        30,
        "no-ops at a reset of Atari are fewer than this, drawn at random (0 with protocol sticky)",
        unit="frames",
        source="Mnih et al. 2015",
        minimum=0,
        maximum=10_000,
    )
    fire_reset: bool = setting(
        True,
        "FIRE for one frame after a reset of Atari, where the game has it (off with protocol "
        "sticky)",
        source="the ALE",
    )
    full_action_space: bool = setting(
        False, "all 18 actions of Atari instead of the game's own", source="Mnih et al. 2015"
    )
    frame_skip: int = setting(
        FRAME_SKIP,
        "frames of Atari in an agent step",
        unit="frames",
        source="Mnih et al. 2015",
        minimum=1,
        maximum=60,
    )
    max_episode_steps: int = setting(
        0,
        "longest episode of Atari (0: 108,000 frames, which are 27,000 agent steps)",
        unit="agent steps",
        source="Machado et al. 2018, section 5.3",
        minimum=0,
        maximum=10_000_000,
    )
    screen_size: int = setting(
        SCREEN_PIXELS,
        "side of the square gray observation of Atari",
        unit="pixels",
        source="Mnih et al. 2015",
        minimum=5,
        maximum=160,
    )
    steps: int = setting(
        10_000_000,
        "length of the run",
        unit="agent steps",
        source="SB3 zoo: 40M frames",
        minimum=1,
        maximum=MAX_STEPS,
    )
    schedule_steps: int = setting(
        0,
        "length of the schedules (0: the --steps with which the run starts)",
        source=OURS,
        unit="agent steps",
        minimum=0,
        maximum=MAX_STEPS,
    )
    seed: int = setting(1, "random seed", source=OURS, minimum=0)
    device: str = setting("auto", "device: auto, cpu, cuda or cuda:K", source=OURS)
    deterministic: bool = setting(
        False,
        "deterministic algorithms on the GPU: slower, and repeatable bit for bit on the same GPU "
        "model and versions; CPUs repeat without it",
        source="PyTorch's notes on reproducibility",
    )
    graphs: bool = setting(
        False,
        "acting and updates as CUDA graphs on a GPU; no graph has run on one yet",
        source=OURS,
    )
    threads: int = setting(
        0,
        "CPU threads for torch (0: as many as a short measurement at the start finds worth it, at "
        "most 8; without --calibrate one per core)",
        source=OURS,
        minimum=0,
        maximum=1_024,
    )
    run_dir: str = setting(
        "", "folder of the run (empty: runs/<Env>/<agent>-<norm>.../seed<k>)", source=OURS
    )
    checkpoint_every_steps: int = setting(
        50_000,
        "steps between checkpoints (0: only at the end)",
        source=OURS,
        unit="agent steps",
        minimum=0,
    )
    keep_checkpoints: int = setting(2, "newest checkpoints to keep", source=OURS, minimum=1)
    eval_every_steps: int = setting(
        250_000,
        "steps between evaluations (0: never)",
        unit="agent steps",
        source="Mnih et al. 2015",
        minimum=0,
    )
    eval_episodes: int = setting(
        10, "episodes in each evaluation", source=OURS, unit="episodes", minimum=1
    )
    eval_video: bool = setting(
        False, "GIF of each evaluation's first episode in TensorBoard, at most 30 s", source=OURS
    )
    log_every_steps: int = setting(
        1_000, "steps between TensorBoard scalars", source=OURS, unit="agent steps", minimum=1
    )
    histogram_every_steps: int = setting(
        25_000,
        "steps between histograms of g and ||v|| (0: never)",
        source=OURS,
        unit="agent steps",
        minimum=0,
    )
    instruments_every_updates: int = setting(
        500,
        "updates between readings of the instruments, tags norm/* (0: never)",
        source="ours: under 1% of the time",
        unit="updates",
        minimum=0,
    )
    curvature_every_updates: int = setting(
        0,
        "updates between measurements of the curvature, tags norm/curvature/* (0: never); each "
        "costs as much as 50 to 160 updates",
        source=OURS,
        unit="updates",
        minimum=0,
    )
    track: str = setting(
        NO_TRACKER,
        "tracker that also gets TensorBoard's scalars; each needs the extra of its name",
        source=OURS,
        choices=(NO_TRACKER, "wandb", "mlflow", "trackio"),  # wnrl.train.tracking
    )
    track_group: str = setting(
        "", "group of runs in the tracker; wnrl.compare gives its folder's name", source=OURS
    )
    on_nonfinite: str = setting(
        "stop",
        "reaction to NaN or infinity: stop, or rollback to the last checkpoint with half the "
        "learning rate and other random numbers",
        source=OURS,
        choices=("stop", "rollback"),
    )
    hang_timeout_s: float = setting(
        600.0,
        "time without a step after which the run ends as hung, with exit code 3; at least 20 times "
        "the slowest step seen (0: never)",
        source=OURS,
        unit="s",
        minimum=0,
    )
    progress_every_s: float = setting(
        10.0,
        "time between progress lines (inf: never)",
        source=OURS,
        unit="s",
        minimum=0,
        maximum=math.inf,
    )
    calibrate: bool = setting(
        True, "short measurement before the start, to forecast the duration", source=OURS
    )
    wall_time: bool = setting(
        True, "wall time in episodes.csv; without it, equal runs have equal files", source=OURS
    )


CONTROL_RUN: Mapping[str, Any] = {
    "steps": 50_000,
    "eval_every_steps": 10_000,
    "log_every_steps": 500,
    "histogram_every_steps": 5_000,
    "init_observations": 512,
    "threads": 1,  # threads waiting for each other over an MLP's few numbers cost 10 times more
}

# 5 million frames, Young & Tian 2019. Intervals are for thousands of steps per second.
MINATAR_RUN: Mapping[str, Any] = {
    "steps": 5_000_000,
    "checkpoint_every_steps": 250_000,
    "log_every_steps": 10_000,
    "histogram_every_steps": 250_000,
    "threads": 1,  # the network is small
}

# Settings of logging and storage. They do not change what is learnt, so a resumed run may change
# them.
OPERATIONAL = (
    "steps",
    "run_dir",
    "device",
    "graphs",
    "checkpoint_every_steps",
    "keep_checkpoints",
    "eval_every_steps",
    "eval_episodes",
    "eval_video",
    "log_every_steps",
    "histogram_every_steps",
    "instruments_every_updates",
    "curvature_every_updates",
    "track",
    "track_group",
    "on_nonfinite",
    "hang_timeout_s",
    "progress_every_s",
    "calibrate",
    "wall_time",
)
# Settings that are not part of a run's name: its folder shows them already, or they follow from
# others.
UNNAMED = (*OPERATIONAL, "env", "agent", "norm", "seed", "threads", "schedule_steps")
