"""Keep torch from importing its compiler, which takes a third of a run's start and is not used."""

import inspect

import torch

METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
STEPPED = (torch.optim.Adam, torch.optim.Adamax, torch.optim.RMSprop)  # of agents


def leave_out_compiler() -> None:
    """Let optimizers work without `torch._dynamo`, for the whole process.

    torch wraps some methods of its optimizers for functions that `torch.compile` has compiled, and
    the wrappers import the compiler when they are first called. This leaves out the wrappers. Call
    it before the first optimizer is built, and only where compiled functions hold no optimizers.
    With a torch that does it in another way, the compiler is imported as before.
    """
    for name in METHODS:
        method = inspect.unwrap(getattr(torch.optim.Optimizer, name))
        # The wrapper (torch._compile) calls what is kept here, in place of the method.
        setattr(method, "__dynamo_disable", method)
    for kind in STEPPED:
        kind.step = torch.no_grad()(inspect.unwrap(kind.step))  # type: ignore[method-assign]
