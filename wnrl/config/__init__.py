"""A run's configuration: the settings of every run, and one run's values with their JSON."""

from wnrl.config.config import (
    NORM,
    Config,
    config_from_json,
    fields_of,
    make_config,
    norm_named,
    replace,
)
from wnrl.config.run_settings import (
    CONTROL_RUN,
    MAX_STEPS,
    MINATAR_RUN,
    NO_TRACKER,
    OPERATIONAL,
    UNNAMED,
    RunConfig,
)

__all__ = [
    "CONTROL_RUN",
    "MAX_STEPS",
    "MINATAR_RUN",
    "NORM",
    "NO_TRACKER",
    "OPERATIONAL",
    "UNNAMED",
    "Config",
    "RunConfig",
    "config_from_json",
    "fields_of",
    "make_config",
    "norm_named",
    "replace",
]
