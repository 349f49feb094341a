"""Variants of the study that differ from a normalization in a setting of the run.

python -m wnrl.compare --import scripts.study.variants --norm none none-data ...
"""

from wnrl.nn import register_norm
from wnrl.nn.norms.catalogue import get_norm

DATA = {"init": "data"}
PAPER = {"v_norm": "paper"}

for name, of, presets in (
    ("none-data", "none", DATA),
    ("weight-data", "weight", DATA),
    ("weight-v-paper", "weight", PAPER),
    ("weight-data-v-paper", "weight", DATA | PAPER),
):
    register_norm(get_norm(of).derived(name, presets={"none": presets}))
