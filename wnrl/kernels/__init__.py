"""Fast weight normalization and optimizer steps: Triton, numba, ATen, and the tests' reference.

Functions on tensors belong here. Layers (`wnrl.nn`) and optimizers (`wnrl.optim`) do not.
"""
