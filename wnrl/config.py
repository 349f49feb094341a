"""A run's configuration: its settings, the precedence of their sources, and its JSON.

Flags, TOML files and Python keywords share one flat set of names. Names of a normalization's
parameters begin with `norm.`. Precedence: defaults (the agent's for this kind of environment, the
normalization's) < preset < recurrent defaults < file < flag. Nothing is built here.
"""

import dataclasses
import functools
import math
from collections import ChainMap
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from wnrl._settings import UsageError, flag_name, nearest, parse_fields, setting
from wnrl.agents.catalogue import AGENTS, get_agent
from wnrl.agents.record import AgentSettings
from wnrl.envs.make import canonical_name, is_atari
from wnrl.envs.protocols import PROTOCOLS, STACK
from wnrl.nn.networks.nature import NATURE
from wnrl.nn.networks.torsos import AUTO, NETWORKS
from wnrl.nn.norms.catalogue import NORMS, get_norm
from wnrl.nn.norms.placement import canonical_where
from wnrl.nn.norms.record import NO_SETTINGS

OURS = "ours"
NORM = "norm."  # prefix of the names of a normalization's parameters


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

    env: str = setting("Breakout", "Atari game or Gymnasium id with discrete actions", source=OURS)
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
        source="ours: all hidden layers, as in the papers",
    )
    network: str = setting(
        "auto",
        "architecture of the torso (auto: nature for images of at least 36x36, else mlp)",
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
    steps: int = setting(
        10_000_000, "length of the run", unit="agent steps", source="SB3 zoo: 40M frames", minimum=1
    )
    schedule_steps: int = setting(
        0,
        "length of the schedules (0: the --steps with which the run starts)",
        source=OURS,
        unit="agent steps",
        minimum=0,
    )
    seed: int = setting(1, "random seed", source=OURS, minimum=0)
    device: str = setting("auto", "device: auto, cpu, cuda or cuda:K", source=OURS)
    threads: int = setting(
        0,
        "CPU threads for torch (0: one per core, at most 8)",
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

# Settings of logging and storage. They do not change what is learnt, so a resumed run may change
# them.
OPERATIONAL = (
    "steps",
    "run_dir",
    "device",
    "checkpoint_every_steps",
    "keep_checkpoints",
    "eval_every_steps",
    "eval_episodes",
    "log_every_steps",
    "histogram_every_steps",
    "instruments_every_updates",
    "progress_every_s",
    "calibrate",
    "wall_time",
)
# Settings that are not part of a run's name: its folder shows them already, or they follow from
# others.
UNNAMED = (*OPERATIONAL, "env", "agent", "norm", "seed", "threads", "schedule_steps")


@dataclasses.dataclass(frozen=True)
class Config:
    """A run, its agent and its normalization.

    Use `make_config` to make one.
    """

    run: RunConfig
    agent: AgentSettings
    explicit: tuple[str, ...] = ()  # names that a person set, by flag, file or keyword
    norm: Any = NO_SETTINGS  # parameters of the normalization, a dataclass

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as in config.json."""
        return {
            "run": dataclasses.asdict(self.run),
            "agent": dataclasses.asdict(self.agent),
            "norm": dataclasses.asdict(self.norm),
            "explicit": list(self.explicit),
        }

    @property
    def name(self) -> str:
        """Return `<agent>-<norm>[-<flag>=<value>...]` with the flags of `departures`."""
        parts = [f"{flag_name(name)}={value}" for name, value in self.departures.items()]
        return "-".join([f"{self.run.agent}-{self.run.norm}", *parts])

    @functools.cached_property
    def departures(self) -> dict[str, Any]:
        """Return by name the settings that change learning and differ from the defaults.

        A preset is one entry, without the values that it sets.
        """
        run, recurrent = self.run, {"recurrent": True} if self.agent.recurrent else {}
        names = {"env": run.env, "agent": run.agent, "norm": run.norm, "preset": run.preset}
        defaults = _with_defaults({**recurrent, **names})
        departures: dict[str, Any] = dict(recurrent)
        if run.preset != "none":
            departures["preset"] = run.preset
        if self.depends_on_schedule and run.schedule_steps != defaults.run.schedule_steps:
            departures["schedule_steps"] = run.schedule_steps
        unnamed = {*UNNAMED, *self.without_effect}
        return departures | {
            name: value
            for name, value in self.values.items()
            if name not in unnamed and value != defaults.values[name]
        }

    @functools.cached_property
    def values(self) -> dict[str, Any]:
        """Return every setting by name; those of the normalization begin with `norm.`."""
        parameters = dataclasses.asdict(self.norm)
        return {
            **dataclasses.asdict(self.run),
            **dataclasses.asdict(self.agent),
            **{NORM + name: value for name, value in parameters.items()},
        }

    @property
    def depends_on_schedule(self) -> bool:
        """Return whether the agent or the normalization follows `schedule_steps`."""
        return self.agent.depends_on_schedule or get_norm(self.run.norm).scheduled

    @property
    def rate_ends(self) -> bool:
        """Return whether nothing is learnt after `schedule_steps`, since the learning rate is 0."""
        return self.agent.learning_rate_decay and not get_norm(self.run.norm).scheduled

    @functools.cached_property
    def without_effect(self) -> frozenset[str]:
        """Return the settings that have no effect in this run."""
        return frozenset(self._without_effect())

    def _without_effect(self) -> Iterable[str]:
        norm = get_norm(self.run.norm).with_settings(dataclasses.asdict(self.norm))
        if not norm.weight_vectors:
            yield from ("weight_storage", "v_norm")
        if not norm.has_place:
            yield "norm_where"
        if self.run.init != "data":
            yield "init_observations"
        if norm.scheduled:
            yield "learning_rate_decay"
        if self.agent.optimizer == "rmsprop":
            yield "beta1"
        atari = is_atari(self.run.env)
        network = self.run.network
        if network == AUTO:  # no environment is made here, so images outside Atari are not seen
            network = "nature" if atari else "mlp"
        if not NETWORKS[network].takes_width:
            yield "width"
        if not NETWORKS[network].takes_hidden:
            yield "hidden"
        if not atari:
            yield "protocol"
        if not self.agent.recurrent:
            yield from ("lstm_units", "burn_in_steps", "sequence_steps")
        if self.run.stack in (0, 1 if self.agent.recurrent else STACK):
            yield "stack"


def fields_of(agent: str, norm: str = "none") -> dict[str, dataclasses.Field[Any]]:
    """Return every setting of a run with this agent and normalization, by name."""
    fields = dataclasses.fields(RunConfig) + dataclasses.fields(AGENTS[agent].settings)
    parameters = dataclasses.fields(get_norm(norm).settings)
    return {x.name: x for x in fields} | {NORM + x.name: x for x in parameters}


def make_config(values: Mapping[str, Any] | None = None, **keywords: Any) -> Config:
    """Make a configuration from settings by name; all others take their defaults.

    Args:
        values: values or their texts by name, as flags and TOML files give them.
        keywords: the same as keywords; they take precedence over `values`.

    Raises:
        UsageError: an unknown name, or a value of the wrong type or out of range.
    """
    given = {
        name.replace("-", "_"): value for name, value in {**(values or {}), **keywords}.items()
    }
    agent = get_agent(given.get("agent", RunConfig.agent)).name
    norm = norm_named(given.get("norm", RunConfig.norm))
    fields = fields_of(agent, norm)
    for name in given:
        if name.startswith(NORM):
            get_norm(norm).check_parameter(name.removeprefix(NORM))
        elif name not in fields:
            raise UsageError(
                f"unknown setting {name!r} of agent {agent}; `python -m wnrl.train --agent {agent} "
                "--help` lists them"
                + (
                    f"; did you mean norm.{name}?"
                    if NORM + name in fields
                    else nearest(name, fields)
                )
            )
    explicit = parse_all(given, agent, norm)
    env = canonical_name(explicit.get("env", RunConfig.env))
    return _with_defaults({**explicit, "env": env, "agent": agent}, tuple(sorted(explicit)))


def _with_defaults(explicit: Mapping[str, Any], names: tuple[str, ...] = ()) -> Config:
    """Return the configuration of parsed values; the environment need not exist here.

    Args:
        explicit: parsed values by name, with env and agent.
        names: names that a person set.
    """
    env, agent, norm = explicit["env"], explicit["agent"], explicit.get("norm", RunConfig.norm)
    preset = explicit.get("preset", "none")
    resolved: dict[str, Any] = {}
    if not is_atari(env):
        resolved |= {**CONTROL_RUN, **AGENTS[agent].control}
    if preset != "none":
        resolved |= AGENTS[agent].preset(preset)
        resolved |= get_norm(norm).presets.get(preset, {})
    if explicit.get("recurrent") and is_atari(env):
        resolved |= AGENTS[agent].recurrent
    return _build({**resolved, **explicit}, names)


def config_from_json(saved: Mapping[str, Any]) -> Config:
    """Return the configuration that `Config.to_json` wrote; newer settings take their defaults."""
    parameters = {NORM + name: value for name, value in saved.get("norm", {}).items()}
    values = {**saved["run"], **saved["agent"], **parameters}
    agent, norm = get_agent(values["agent"]).name, norm_named(values["norm"])
    if values.get("max_grad_norm") == math.inf:  # an older spelling of 0, no limit
        values["max_grad_norm"] = 0.0
    known = {name: value for name, value in values.items() if name in fields_of(agent, norm)}
    return _build(parse_all(known, agent, norm), tuple(saved["explicit"]))


def replace(config: Config, **changes: Any) -> Config:
    """Return a copy with changed settings; another normalization begins with its defaults."""
    values = config.values
    if "norm" in changes:
        values = {name: value for name, value in values.items() if not name.startswith(NORM)}
    return _build({**values, **changes}, config.explicit)


def parse_all(given: Mapping[str, Any], agent: str, norm: str) -> dict[str, Any]:
    """Parse values by name; every name must be a setting of the run."""
    parsed: dict[str, Any] = {}
    for kind, prefix in (
        (RunConfig, ""),
        (AGENTS[agent].settings, ""),
        (type(get_norm(norm).settings), NORM),
    ):
        names = [field.name for field in dataclasses.fields(kind)]
        part = {name: given[prefix + name] for name in names if prefix + name in given}
        parsed |= {prefix + name: v for name, v in parse_fields(kind, part, prefix).items()}
    return parsed


def norm_named(name: Any) -> str:
    """Return the normalization's name; SettingError with the nearest names if there is none."""
    named = parse_fields(RunConfig, {"norm": name})["norm"]
    assert isinstance(named, str)
    return named


def _build(resolved: Mapping[str, Any], explicit: Iterable[str]) -> Config:
    def pick(kind: Any) -> Any:
        names = {field.name for field in dataclasses.fields(kind)}
        return kind(**{name: value for name, value in resolved.items() if name in names})

    run = pick(RunConfig)
    if run.schedule_steps == 0:
        run = dataclasses.replace(run, schedule_steps=run.steps)
    run = dataclasses.replace(run, norm_where=canonical_where(run.norm_where))
    norm = get_norm(run.norm).settings
    names = [field.name for field in dataclasses.fields(norm) if NORM + field.name in resolved]
    norm = dataclasses.replace(norm, **{name: resolved[NORM + name] for name in names})
    return Config(run, pick(AGENTS[resolved["agent"]].settings), tuple(explicit), norm)
