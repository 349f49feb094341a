"""Networks: torsos, heads, recurrent cores, their assembly and their initialization.

Architectures belong here; the normalizations of their layers do not (`wnrl.nn.norms`).
"""
