"""What other projects call our settings, agents and normalizations, for hints in errors.

The names are from Stable-Baselines3 and its zoo, CleanRL, Dopamine, RLlib and papers. A name may
have several meanings; the first one that is allowed where it was typed is the hint. Names that mean
no setting have a sentence of their own.
"""

from collections.abc import Iterable, Mapping

_OTHER_NAMES: Mapping[tuple[str, ...], str] = {  # what is meant: the names, in plain form
    ("learningrate",): "lr alpha stepsize",
    ("learningratedecay",): "anneallr lrdecay lrschedule",
    ("optimizereps",): "eps adameps adamepsilon rmspropeps",
    ("steps",): "n totaltimesteps timesteps ntimesteps numtimesteps maxsteps totalsteps trainsteps "
    "frames totalframes nframes",
    ("rolloutsteps", "nstep"): "nsteps",
    ("rolloutsteps", "steps"): "numsteps",
    ("numenvs",): "nenvs nenv numenv envs numenvironments numworkers workers",
    ("batchsize", "minibatches"): "batch batchsize minibatchsize nminibatches numminibatches",
    ("buffersize",): "replaysize replaybuffersize replaycapacity memorysize capacity",
    ("gamma",): "discount discountfactor",
    ("env",): "envid envname environment game task",
    ("agent",): "algo alg algorithm",
    ("device",): "cuda nocuda usecuda gpu usegpu",
    (
        "rundir",
    ): "f logdir logfolder logpath outputdir output out savedir savepath tensorboardlog expname",
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
    ("normalizeadvantage",): "normadv normalizeadv",
    ("deterministic",): "torchdeterministic cudadeterministic",
    ("frameskip",): "actionrepeat frameskips",
    ("stack",): "framestack nstack",
    ("sticky",): "stickyactions repeatactionprobability",
    ("evalepisodes",): "nevalepisodes numevalepisodes evalruns",
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
    ("track",): "wandb usewandb tracker reportto",
    ("trackgroup",): "wandbgroup",
    (): "sac td3 ddpg rainbow",  # nothing is meant that is here
}
_ELSEWHERE = {  # what to do where no setting is meant: the names, in plain form
    "wnrl.evaluate RUN_DIR --video play.gif records an episode of a run": "capturevideo record "
    "render video gif",
    "wnrl.evaluate RUN_DIR plays episodes with a trained run": "eval play test enjoy",
    "--resume RUN_DIR continues a run, and wnrl.evaluate RUN_DIR plays it": "load checkpoint "
    "trainedagent i modelpath",
    "a run keeps checkpoints, and wnrl.export writes its policy for other programs": "savemodel "
    "uploadmodel hfentity",
    "a run has one --seed; wnrl.compare takes --seeds": "seeds nseeds numseeds",
    "--steps is how long a run is, in agent steps": "episodes nepisodes numepisodes maxepisodes",
    "--progress-every-s sets how often a line is printed": "verbose progress quiet",
    "each setting is a flag, or a line of --config FILE": "hyperparams hyperparameters",
    "wnrl.compare --tune tries several values": "optimizehyperparameters optimize ntrials",
    "--norm-input running normalizes observations": "normalize normalizeobs",
    "--optimizer rmsprop does it": "usermsprop",
    "--num-envs says how many environments step together": "vecenv asyncenv",
    "a target network is always copied as a whole": "tau polyak",
    "wnrl has no such setting": "targetkl clipvloss cliprangevf usesde prioritized weightdecay "
    "gradientsteps",
}
_ANSWERS = {name: answer for answer, names in _ELSEWHERE.items() for name in names.split()}
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


def elsewhere(name: str) -> str:
    """Return what to do instead of a setting that is not here; empty if the name is not known.

    Args:
        name: in lower case, without `_`, `-` and spaces.
    """
    return _ANSWERS.get(name, "")
