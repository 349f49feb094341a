"""Settings in which variants differ although nobody asked for it, such as a preset's rates."""

from collections.abc import Mapping, Sequence

from wnrl._settings import flag_name
from wnrl.config import NORM, UNNAMED, Config
from wnrl.report.comparison import SettingsNote, Variant
from wnrl.report.run_differences import describe_differences

_RATE = "learning_rate"


def settings_note(
    configs: Mapping[Variant, Config],
    pairs: Sequence[tuple[Variant, Variant]],
    swept: Sequence[str],
) -> SettingsNote:
    """Return the settings that differ within pairs, and the learning rates.

    Args:
        configs: a run's configuration of each variant, in one environment.
        pairs: variants and what they are compared with.
        swept: settings that are compared on purpose; they are part of a variant's name.
    """
    differing = {}
    for variant, baseline in pairs:
        if variant in configs and baseline in configs:
            found = _differences(configs[variant], configs[baseline], swept)
            if found:
                differing[variant.label] = found
    if _RATE in swept:
        return SettingsNote(differing, "")
    rates = {variant.label: config.agent.learning_rate for variant, config in configs.items()}
    if len(set(rates.values())) > 1:
        return SettingsNote(differing, "", rates)
    rate = next(iter(rates.values()), None)
    return SettingsNote(differing, "" if rate is None else f"--{flag_name(_RATE)} {rate}")


def _differences(a: Config, b: Config, swept: Sequence[str]) -> str:
    ignored = {"preset", *UNNAMED, *swept, *a.without_effect, *b.without_effect}
    names = sorted((a.values.keys() & b.values.keys()) - ignored)
    return describe_differences(
        {
            name: (a.values[name], b.values[name])
            for name in names
            if not name.startswith(NORM) and a.values[name] != b.values[name]
        }
    )
