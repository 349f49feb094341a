"""Variants of the study that differ from a normalization in a setting of the run.

python -m wnrl.compare --import scripts.study.variants --norm none none-data ...
"""

from wnrl.nn import register_norm
from wnrl.nn.norms.catalogue import get_norm

for name in ("none", "weight"):
    register_norm(get_norm(name).derived(f"{name}-data", presets={"none": {"init": "data"}}))
