"""A run's configuration: what it holds, where each value comes from, and its JSON.

One flat set of names serves flags, TOML files and Python keywords. Precedence: default (of the
agent, for this kind of environment) < preset < file < flag. Nothing is built here.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_type_hints

from wnrl.agents import dqn
from wnrl.agents.dqn import DQNConfig
from wnrl.envs.make import canonical_name, is_atari
from wnrl.envs.protocols import PROTOCOLS
from wnrl.errors import UsageError, nearest
from wnrl.nn.norms import NORMS, get_norm
from wnrl.settings import setting

OURS = "ours"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What is run, where and how it is watched."""

    env: str = setting(
        "Breakout", "an Atari game or a Gymnasium id with discrete actions", source=OURS
    )
    agent: str = setting("dqn", "the algorithm", source=OURS, choices=("dqn",))
    norm: str = setting(
        "weight", "the normalization of the hidden layers", source=OURS, choices=NORMS
    )
    init: str = setting(
        "default",
        "`data` adds data-dependent initialization on random play",
        source="Salimans & Kingma 2016, section 3",
        choices=("default", "data"),
    )
    init_observations: int = setting(
        2_048,
        "observations of random play for --init data",
        unit="observations",
        source="ours; the paper took 500 images",
        minimum=2,
    )
    weight_storage: str = setting(
        "w",
        "weight norm in the optimizer over plain weights (w) or in the layers (gv)",
        source=OURS,
        choices=("w", "gv"),
    )
    v_norm: str = setting(
        "weight",
        "||v|| at the start: the weights' own, the paper's 0.05 sqrt(fan_in), or 1",
        source="torch's weight_norm keeps the weights' own",
        choices=("weight", "paper", "unit"),
    )
    preset: str = setting(
        "none",
        "a set of defaults; nature and paper are published, fast is ours",
        source=OURS,
        choices=("none", *dqn.PRESETS),
    )
    protocol: str = setting(
        "classic",
        "classic: Mnih et al. 2015; sticky: Machado et al. 2018",
        source=OURS,
        choices=PROTOCOLS,
    )
    steps: int = setting(
        10_000_000, "end of the run", unit="agent steps", source="SB3 zoo: 40M frames", minimum=1
    )
    schedule_steps: int = setting(
        0,
        "length of the schedules (0: the first --steps)",
        source=OURS,
        unit="agent steps",
        minimum=0,
    )
    seed: int = setting(1, "of everything random", source=OURS, minimum=0)
    device: str = setting("auto", "auto, cpu, cuda or cuda:K", source=OURS)
    threads: int = setting(
        0, "of torch on the CPU (0: one per core, at most 8)", source=OURS, minimum=0, maximum=1_024
    )
    run_dir: str = setting(
        "", "where the run is kept (empty: runs/<Env>/<agent>-<norm>.../seed<k>)", source=OURS
    )
    checkpoint_every_steps: int = setting(
        50_000,
        "between checkpoints (0: at the end only)",
        source=OURS,
        unit="agent steps",
        minimum=0,
    )
    keep_checkpoints: int = setting(2, "the newest ones", source=OURS, minimum=1)
    eval_every_steps: int = setting(
        250_000,
        "between evaluations (0: never)",
        unit="agent steps",
        source="Mnih et al. 2015",
        minimum=0,
    )
    eval_episodes: int = setting(10, "of each evaluation", source=OURS, unit="episodes", minimum=1)
    log_every_steps: int = setting(
        1_000, "between TensorBoard scalars", source=OURS, unit="agent steps", minimum=1
    )
    histogram_every_steps: int = setting(
        25_000,
        "between histograms of g and ||v|| (0: never)",
        source=OURS,
        unit="agent steps",
        minimum=0,
    )
    instruments_every_updates: int = setting(
        500,
        "between readings of the instruments, tags norm/* (0: never)",
        source="ours: under 1% of the time",
        unit="updates",
        minimum=0,
    )
    progress_every_s: float = setting(
        10.0, "between progress lines", source=OURS, unit="s", minimum=0
    )
    calibrate: bool = setting(
        True, "measure the speed before the start to say how long it takes", source=OURS
    )
    wall_time: bool = setting(
        True, "in episodes.csv; without it two runs' files compare byte for byte", source=OURS
    )


CONTROL_RUN: Mapping[str, Any] = {
    "steps": 50_000,
    "eval_every_steps": 10_000,
    "log_every_steps": 500,
    "histogram_every_steps": 5_000,
    "init_observations": 512,
    "threads": 1,  # threads that wait for each other over an MLP's few numbers cost 10 times more
}

# They change what is watched and kept, never what is learnt: a resumed run may change them.
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
# Recorded with the run, but no part of its name: the folder says them already, or they are how
# the rest came about.
_UNNAMED = (*OPERATIONAL, "env", "agent", "norm", "seed", "threads", "schedule_steps")


class AgentEntry(NamedTuple):
    """What an agent brings to a configuration."""

    config: type[DQNConfig]
    control: Mapping[str, Any]
    presets: Mapping[str, Any]


AGENTS: Mapping[str, AgentEntry] = {
    "dqn": AgentEntry(DQNConfig, dqn.CONTROL, dqn.PRESETS),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """A run and its agent; `explicit` are the names that a person set, by flag, file or keyword."""

    run: RunConfig
    agent: DQNConfig
    explicit: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, as in config.json."""
        return {
            "run": dataclasses.asdict(self.run),
            "agent": dataclasses.asdict(self.agent),
            "explicit": list(self.explicit),
        }

    @property
    def name(self) -> str:
        """`<agent>-<norm>[-<flag>=<value>...]`, with the flags that change learning, where set.

        With a preset the values that it sets are its name alone.
        """
        defaults = make_config(
            env=self.run.env, agent=self.run.agent, norm=self.run.norm, preset=self.run.preset
        )
        parts = [f"{self.run.agent}-{self.run.norm}"]
        if self.run.preset != "none":
            parts.append(f"preset={self.run.preset}")
        # The length of the schedules matters where one goes by it.
        if not self.agent.epsilon_steps and self.run.schedule_steps != defaults.run.schedule_steps:
            parts.append(f"schedule-steps={self.run.schedule_steps}")
        silent = {*_UNNAMED, *self._without_effect()}
        for ours, theirs in ((self.run, defaults.run), (self.agent, defaults.agent)):
            for field in dataclasses.fields(ours):
                value = getattr(ours, field.name)
                if field.name not in silent and value != getattr(theirs, field.name):
                    parts.append(f"{flag_name(field.name)}={value}")
        return "-".join(parts)

    def _without_effect(self) -> Iterable[str]:
        """Settings that change nothing in this run."""
        if not get_norm(self.run.norm).weight_vectors:
            yield from ("weight_storage", "v_norm")
        if self.run.init != "data":
            yield "init_observations"
        yield "hidden" if is_atari(self.run.env) else "protocol"


def flag_name(field: str) -> str:
    """`buffer_size` -> `buffer-size`."""
    return field.replace("_", "-")


def fields_of(agent: str) -> dict[str, dataclasses.Field[Any]]:
    """Every setting of a run with this agent, by name."""
    found = dataclasses.fields(RunConfig) + dataclasses.fields(AGENTS[agent].config)
    return {field.name: field for field in found}


def make_config(values: Mapping[str, Any] | None = None, **keywords: Any) -> Config:
    """Resolve names and values into a configuration.

    Args:
        values: parsed or textual values by name, as from flags or a TOML file.
        keywords: the same, as keywords; they win over `values`.

    Raises:
        UsageError: an unknown name, a value of the wrong type or out of range.
    """
    given = {
        name.replace("-", "_"): value for name, value in {**(values or {}), **keywords}.items()
    }
    agent = agent_named(given.get("agent", RunConfig.agent))
    fields = fields_of(agent)
    for name in given:
        if name not in fields:
            raise UsageError(
                f"unknown setting {name!r} of agent {agent}; `--agent {agent} --help` lists them"
                + nearest(name, fields)
            )
    explicit = parse_all(given, agent)
    env = canonical_name(explicit.get("env", RunConfig.env))
    preset = explicit.get("preset", "none")
    resolved: dict[str, Any] = {}
    if not is_atari(env):
        resolved |= {**CONTROL_RUN, **AGENTS[agent].control}
    if preset != "none":
        resolved |= AGENTS[agent].presets[preset](explicit.get("norm", RunConfig.norm))
    resolved |= explicit
    resolved |= {"env": env, "agent": agent}
    return _build(resolved, tuple(sorted(explicit)))


def config_from_json(saved: Mapping[str, Any]) -> Config:
    """The configuration that `Config.to_json` gave; settings added since take their defaults."""
    values = {**saved["run"], **saved["agent"]}
    agent = agent_named(values["agent"])
    known = {name: value for name, value in values.items() if name in fields_of(agent)}
    return _build(parse_all(known, agent), tuple(saved["explicit"]))


def replace(config: Config, **changes: Any) -> Config:
    """A copy with changed settings."""
    resolved = {**dataclasses.asdict(config.run), **dataclasses.asdict(config.agent), **changes}
    return _build(resolved, config.explicit)


def parse_all(given: Mapping[str, Any], agent: str) -> dict[str, Any]:
    """Values of the right types by name; every name must be a setting of the agent's run."""
    fields = fields_of(agent)
    types = {**get_type_hints(RunConfig), **get_type_hints(AGENTS[agent].config)}
    return {name: parse(name, value, types[name], fields[name]) for name, value in given.items()}


def parse(name: str, value: Any, kind: type, field: dataclasses.Field[Any]) -> Any:
    """A value of the field's type and range. `10_000` and `1e6` are whole numbers.

    Raises:
        UsageError: it is not one; the message names the flag, the value and what is allowed.
    """
    flag = f"--{flag_name(name)}"
    unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
    if kind is str:
        choices = field.metadata["choices"]
        if not isinstance(value, str):
            raise UsageError(f"{flag} takes text, not {value!r}")
        if choices and value not in choices:
            raise UsageError(
                f"{flag} {value!r} is unknown; allowed: {', '.join(choices)}"
                + nearest(value, choices)
            )
        return value
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise UsageError(f"{flag} is on or off (true or false), not {value!r}")
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value) if kind is float else _whole(value)
    except (TypeError, ValueError, OverflowError):
        what = "a number" if kind is float else "a whole number"
        raise UsageError(
            f"{flag} takes {what}{' of' + unit if unit else ''}, not {value!r}"
        ) from None
    _check_range(flag, number, field.metadata)
    return number


def _whole(value: Any) -> int:
    if isinstance(value, int):
        return value
    try:
        return int(value) if isinstance(value, str) else int(str(value))
    except ValueError:
        number = float(value)
        if number != int(number):
            raise
        return int(number)


def _check_range(flag: str, number: float, limits: Mapping[str, Any]) -> None:
    unit = f" {limits['unit']}" if limits["unit"] else ""
    if math.isnan(number):
        raise UsageError(f"{flag} is not a number")
    low, high, above = limits["minimum"], limits["maximum"], limits["above"]
    if low is not None and number < low:
        allowed = f"at least {low:_}"
    elif high is not None and number > high:
        allowed = f"at most {high:_}"
    elif above is not None and number <= above:
        allowed = f"more than {above:_}"
    else:
        return
    raise UsageError(f"{flag} {number:_} is out of range; it must be {allowed}{unit}")


def agent_named(name: Any) -> str:
    """The agent's name. UsageError with the nearest names if there is none."""
    if not isinstance(name, str) or name not in AGENTS:
        raise UsageError(
            f"--agent {name!r} is unknown; allowed: {', '.join(AGENTS)}{nearest(str(name), AGENTS)}"
        )
    return name


def _build(resolved: Mapping[str, Any], explicit: Iterable[str]) -> Config:
    def pick(kind: Any) -> Any:
        names = {field.name for field in dataclasses.fields(kind)}
        return kind(**{name: value for name, value in resolved.items() if name in names})

    run = pick(RunConfig)
    if run.schedule_steps == 0:
        run = dataclasses.replace(run, schedule_steps=run.steps)
    return Config(run, pick(AGENTS[resolved["agent"]].config), tuple(explicit))
