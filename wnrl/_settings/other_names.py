"""What other projects call our settings, agents and normalizations, for hints in errors.

The names are from Stable-Baselines3 and its zoo, CleanRL, Dopamine, RLlib and papers. A name may
have several meanings; the first one that is allowed where it was typed is the hint.
"""

from collections.abc import Iterable, Mapping

_OTHER_NAMES: Mapping[tuple[str, ...], str] = {  # what is meant: the names, in plain form
    ("learningrate",): "lr alpha stepsize",
    ("steps",): "totaltimesteps timesteps ntimesteps numtimesteps maxsteps totalsteps trainsteps "
    "frames totalframes nframes",
    ("rolloutsteps", "nstep"): "nsteps",
    ("rolloutsteps", "steps"): "numsteps",
    ("numenvs",): "nenvs envs numenvironments numworkers workers",
    ("batchsize", "minibatches"): "batch batchsize minibatchsize nminibatches numminibatches",
    ("buffersize",): "replaysize replaybuffersize replaycapacity memorysize capacity",
    ("gamma",): "discount discountfactor",
    ("env",): "envid envname environment game task",
    ("agent",): "algo algorithm",
    ("device",): "cuda nocuda gpu usegpu",
    ("rundir",): "logdir outputdir output out savedir savepath tensorboardlog expname",
    ("warmupsteps",): "learningstarts warmup startsteps minreplaysize",
    ("epsilonsteps",): "explorationfraction explorationsteps epsdecay epsilondecay",
    ("epsilonstart",): "explorationinitialeps starte epsstart",
    ("epsilonend",): "explorationfinaleps ende epsend",
    ("targetperiodsteps",): "targetnetworkfrequency targetupdateinterval targetupdatefreq "
    "targetupdateperiod",
    ("updateperiodsteps",): "trainfrequency trainfreq updatefreq updateperiod",
    ("cliprange",): "clipcoef clipeps clip",
    ("entropycoef",): "entcoef entropy entropycoefficient entropybonus",
    ("valuecoef",): "vfcoef valuelosscoef",
    ("gaelambda", "qlambda"): "lambda lam",
    ("epochs",): "nepochs updateepochs numepochs kepochs",
    ("maxgradnorm",): "gradclip clipgrad clipgradnorm gradientclipping",
    ("hidden",): "hiddensize hiddensizes netarch layers",
    ("network",): "policy arch architecture",
    ("frameskip",): "actionrepeat frameskips",
    ("stack",): "framestack nstack",
    ("sticky",): "stickyactions repeatactionprobability",
    ("evaleverysteps",): "evalfreq evalinterval",
    ("checkpointeverysteps",): "savefreq saveinterval checkpointfreq",
    ("logeverysteps",): "logfreq loginterval",
    ("video",): "capturevideo record render gif",
    ("norm",): "normalization normalisation",
    ("double", "dqn"): "doubledqn ddqn doubleq",
    ("dueling", "dqn"): "duelingdqn",
    ("recurrent", "dqn"): "drqn lstm",
    ("weight", "norm"): "wn weightnorm weightnormalization",
    ("batch", "norm"): "bn batchnorm batchnormalization",
    ("layer", "norm"): "ln layernorm layernormalization",
    ("group", "norm"): "gn groupnorm groupnormalization",
    ("rms", "norm"): "rmsnorm rmsnormalization",
    ("spectral", "norm"): "sn spectralnorm spectralnormalization",
    (): "track wandb sac td3 ddpg rainbow",  # nothing is meant that is here
}
_MEANT = {name: meant for meant, names in _OTHER_NAMES.items() for name in names.split()}


def meant_by(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that another project's name means.

    Args:
        name: in lower case, without `_`, `-` and spaces.
        allowed: names in the same form.

    Returns:
        The name. It is empty if nothing that is here is meant, and None if `name` is not known.
    """
    if name not in _MEANT:
        return None
    known, meant = set(allowed), _MEANT[name]
    if not meant:
        return ""
    return next((each for each in meant if each in known), None)
