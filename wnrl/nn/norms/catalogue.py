"""The catalogue of normalizations: one record each, in one table.

Defaults of parameters are the papers', if the papers state them. The records are made in `batch`
(over the batch), `sample` (within each sample), `features` (of what the head reads), `pointwise`
(no statistics), `weight` and `weight_controls` (of weights) and `sparse` (gates).
"""

from wnrl._settings import UsageError, nearest
from wnrl.nn.norms.batch import (
    BatchRenormSettings,
    BatchSettings,
    MeanSettings,
    batch_norm,
    batch_renorm,
    mean_only,
)
from wnrl.nn.norms.features import (
    SimplicialSettings,
    UnitLengthSettings,
    simplicial_embedding,
    unit_features,
)
from wnrl.nn.norms.pointwise import ErfSettings, TanhSettings, dynamic_erf, dynamic_tanh
from wnrl.nn.norms.record import SAME, Norm
from wnrl.nn.norms.sample import (
    ChannelSettings,
    GroupSettings,
    LayerSettings,
    PlainLayerSettings,
    RMSSettings,
    group_norm,
    layer_norm,
    layer_norm_of_channels,
    layer_norm_without_affine,
    rms_norm,
)
from wnrl.nn.norms.sparse import L0Settings, l0_gates
from wnrl.nn.norms.weight import (
    NapSettings,
    ProjectionSettings,
    SpectralSettings,
    StandardizationSettings,
    normalize_and_project,
    projection,
    spectral_norm,
    weight_and_mean,
    weight_normalization,
    weight_standardization,
)
from wnrl.nn.norms.weight_controls.penalties import (
    L2InitSettings,
    ParsevalSettings,
    l2_init,
    parseval,
)
from wnrl.nn.norms.weight_controls.steps import (
    ClipSettings,
    HyperballSettings,
    HypersphereSettings,
    SpectralGradientSettings,
    clip,
    hyperball,
    hypersphere,
    spectral_gradient_scaling,
)
from wnrl.nn.norms.weight_controls.variants import (
    CapSettings,
    capped_v,
    fixed_gain,
    fixed_v,
    log_gain,
)

NORMS: dict[str, Norm] = {}


def register_norm(norm: Norm) -> Norm:
    """Add a normalization to the catalogue, either new or `derived` from an entry.

    Raises:
        UsageError: the name is taken or empty.
    """
    if not norm.name or norm.name in NORMS:
        raise UsageError(f"normalization {norm.name!r} is taken or empty: choose another name")
    NORMS[norm.name] = norm
    return norm


def get_norm(name: str) -> Norm:
    """Return the normalization of a name, with its default parameters.

    Raises:
        UsageError: the name is unknown; the message suggests the nearest ones.
    """
    if name not in NORMS:
        raise UsageError(
            f"unknown normalization {name!r}: allowed are {', '.join(NORMS)}" + nearest(name, NORMS)
        )
    return NORMS[name]


NONE = Norm(
    name="none",
    summary="no normalization",
    paper="Mnih et al. 2015, Nature 518",
    cost="none",
    start=SAME,
)
for _norm in (
    NONE,
    weight_normalization(),
    weight_and_mean(MeanSettings()),
    mean_only(MeanSettings()),
    batch_norm(BatchSettings()),
    batch_renorm(BatchRenormSettings()),
    layer_norm(LayerSettings()),
    layer_norm_of_channels(ChannelSettings()),
    layer_norm_without_affine(PlainLayerSettings()),
    rms_norm(RMSSettings()),
    group_norm(GroupSettings()),
    spectral_norm(SpectralSettings()),
    weight_standardization(StandardizationSettings()),
    projection(ProjectionSettings()),
    normalize_and_project(NapSettings()),
    dynamic_tanh(TanhSettings()),
    dynamic_erf(ErfSettings()),
    unit_features(UnitLengthSettings()),
    simplicial_embedding(SimplicialSettings()),
    l0_gates(L0Settings()),
    fixed_v(),
    capped_v(CapSettings()),
    fixed_gain(),
    log_gain(),
    hyperball(HyperballSettings()),
    hypersphere(HypersphereSettings()),
    clip(ClipSettings()),
    spectral_gradient_scaling(SpectralGradientSettings()),
    l2_init(L2InitSettings()),
    parseval(ParsevalSettings()),
):
    register_norm(_norm)
