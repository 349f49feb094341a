"""Weight normalization (Salimans & Kingma 2016): layers, both storages, conversion, cached weights.

Optimizer steps belong in `wnrl.optim`, kernels in `wnrl.kernels`, other normalizations in
`wnrl.nn.norms`.
"""
