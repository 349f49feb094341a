"""Variants of the study that differ from a normalization in a setting of the run.

python -m wnrl.compare --import scripts.study.variants --norm none none-data ...
"""

from wnrl.nn import register_norm
from wnrl.nn.norms.catalogue import get_norm

DATA = {"init": "data"}
PAPER = {"v_norm": "paper"}
LOW = {"learning_rate": 2e-3}
HIGH = {"learning_rate": 8e-3}

for name, of, presets in (
    ("none-data", "none", DATA),
    ("weight-data", "weight", DATA),
    ("weight-v-paper", "weight", PAPER),
    ("weight-data-v-paper", "weight", DATA | PAPER),
    ("none-2e-3", "none", LOW),
    ("none-8e-3", "none", HIGH),
    ("weight-2e-3", "weight", LOW),
    ("weight-8e-3", "weight", HIGH),
    ("weight-v-paper-2e-3", "weight", PAPER | LOW),
    ("weight-v-paper-8e-3", "weight", PAPER | HIGH),
):
    register_norm(get_norm(of).derived(name, presets={"none": presets}))
