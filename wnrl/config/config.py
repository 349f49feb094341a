"""One run's configuration: the precedence of its settings' sources, and its JSON.

Flags, TOML files and Python keywords share one flat set of names. Names of a normalization's
parameters begin with `norm.`. Precedence: defaults (the agent's for this kind of environment, the
normalization's) < preset < recurrent defaults < file < flag. Nothing is built here.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

from wnrl._settings import UsageError, flag_name, parse_fields
from wnrl.agents.catalogue import AGENTS, get_agent
from wnrl.agents.record import AgentSettings
from wnrl.config.atari import check_atari, departures_from_protocol, protocol_defaults
from wnrl.config.run_settings import CONTROL_RUN, MINATAR_RUN, UNNAMED, RunConfig
from wnrl.config.unknown import hint
from wnrl.envs.make import canonical_name, check_keywords, is_atari, is_minatar
from wnrl.envs.protocols import SETTINGS, STACK, AtariProtocol, Changes, protocol_named
from wnrl.envs.registered.keywords import SETTING, keywords_of, keywords_text
from wnrl.nn.networks.torsos import AUTO, NETWORKS
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.placement import canonical_where
from wnrl.nn.norms.record import NO_SETTINGS
from wnrl.optim.rules import check_marked

NORM = "norm."  # prefix of the names of a normalization's parameters


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
        """Return `<agent>-<norm>[-<flag>=<value>...]` with the flags of `departures`.

        It is the name of a folder: a slash in a value becomes a dash.
        """
        parts = [f"{flag_name(name)}={value}" for name, value in self.departures.items()]
        return "-".join([f"{self.run.agent}-{self.run.norm}", *parts]).replace("/", "-")

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
        usual = {**defaults.values, **protocol_defaults({"protocol": run.protocol})}
        return departures | {
            name: value
            for name, value in self.values.items()
            if name not in unnamed and value != usual[name]
        }

    @functools.cached_property
    def changes(self) -> Changes:
        """Return the fields in which the run departs from its named Atari protocol."""
        return departures_from_protocol(self.run)

    @functools.cached_property
    def protocol(self) -> AtariProtocol | None:
        """Return the Atari protocol as the run plays it; None outside Atari."""
        if not is_atari(self.run.env):
            return None
        stack = self.run.stack or (1 if self.agent.recurrent else 0)
        protocol = protocol_named(self.run.protocol, stack, self.changes)
        if self.agent.protocol_epsilon:
            return protocol
        return dataclasses.replace(protocol, evaluation_epsilon=0.0)

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
        if not norm.weight_vectors or len(norm.storages) == 1:
            yield "weight_storage"
        if not norm.weight_vectors:
            yield "v_norm"
        if not norm.has_place:
            yield "norm_where"
        if not norm.normalizes_activations:
            yield "norm_after"
        if self.run.init != "data":
            yield "init_observations"
        if norm.scheduled:
            yield "learning_rate_decay"
        if self.agent.optimizer in ("rmsprop", "rmsprop-tf"):
            yield "beta1"
        atari = is_atari(self.run.env)
        network = self.run.network
        if network == AUTO:  # no environment is made here, so images outside Atari are not seen
            network = "nature" if atari else "minatar" if is_minatar(self.run.env) else "mlp"
        if not NETWORKS[network].takes_width:
            yield "width"
        if not NETWORKS[network].takes_hidden:
            yield "hidden"
        if not atari:
            yield from ("protocol", "protocol_epsilon", *SETTINGS)
        yield from self.agent.unused
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
                    else hint(name, agent, fields)
                )
            )
    if SETTING in given:  # several texts, or a mapping
        given[SETTING] = keywords_text(given[SETTING])
    explicit = parse_all(given, agent, norm)
    env = canonical_name(explicit.get("env", RunConfig.env))
    check_keywords(env, keywords_of(explicit.get(SETTING, "")))
    config = _with_defaults({**explicit, "env": env, "agent": agent}, tuple(sorted(explicit)))
    check_atari(config.run, config.explicit)
    record = get_norm(norm)
    marked = record.weight_vectors and config.run.weight_storage == "w" in record.storages
    check_marked(config.agent.optimizer, marked)
    return config


def _with_defaults(explicit: Mapping[str, Any], names: tuple[str, ...] = ()) -> Config:
    """Return the configuration of parsed values; the environment need not exist here.

    Args:
        explicit: parsed values by name, with env and agent.
        names: names that a person set.
    """
    env, agent, norm = explicit["env"], explicit["agent"], explicit.get("norm", RunConfig.norm)
    preset = explicit.get("preset", "none")
    resolved = _placement(norm)
    if is_minatar(env):
        resolved |= {**MINATAR_RUN, **AGENTS[agent].minatar}
    elif not is_atari(env):
        resolved |= {**CONTROL_RUN, **AGENTS[agent].control}
    if preset != "none":
        resolved |= AGENTS[agent].preset(preset)
    resolved |= get_norm(norm).presets.get(preset, {})
    if explicit.get("recurrent") and (is_atari(env) or is_minatar(env)):
        resolved |= AGENTS[agent].recurrent
    resolved |= explicit
    return _build({**protocol_defaults(resolved), **resolved}, names)


def _placement(norm: str) -> dict[str, Any]:
    """Return the settings of a normalization's own place, by name."""
    record = get_norm(norm)
    return {"norm_where": record.where, "norm_after": record.after}


def config_from_json(saved: Mapping[str, Any]) -> Config:
    """Return the configuration that `Config.to_json` wrote.

    Newer settings take their defaults, or what the agent did before it had them.

    Raises:
        UsageError: a name or a value is invalid.
    """
    parameters = {NORM + name: value for name, value in saved.get("norm", {}).items()}
    values = {**saved["run"], **saved["agent"], **parameters}
    record, norm = get_agent(values.get("agent")), norm_named(values.get("norm"))
    agent, values = record.name, {**record.before, **values}
    if values.get("max_grad_norm") == math.inf:  # an older spelling of 0, no limit
        values["max_grad_norm"] = 0.0
    known = {name: value for name, value in values.items() if name in fields_of(agent, norm)}
    parsed = parse_all(known, agent, norm)
    return _build({**protocol_defaults(parsed), **parsed}, tuple(saved["explicit"]))


def replace(config: Config, **changes: Any) -> Config:
    """Return a copy with changed settings; another normalization begins with its defaults."""
    values = config.values
    if "norm" in changes:
        values = {name: value for name, value in values.items() if not name.startswith(NORM)}
        placement = _placement(changes["norm"])
        values |= {name: placement[name] for name in placement.keys() - set(config.explicit)}
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
    run = dataclasses.replace(
        run,
        norm_where=canonical_where(run.norm_where),
        env_kwargs=keywords_text(run.env_kwargs),
    )
    norm = get_norm(run.norm).settings
    names = [field.name for field in dataclasses.fields(norm) if NORM + field.name in resolved]
    norm = dataclasses.replace(norm, **{name: resolved[NORM + name] for name in names})
    return Config(run, pick(AGENTS[resolved["agent"]].settings), tuple(explicit), norm)
