"""Weight normalization (Salimans & Kingma 2016): layers, both storages, conversion, cached weights.

The steps of an optimizer do not belong here (`wnrl.optim`), nor do kernels (`wnrl.kernels`).
"""
