"""Networks: torsos, heads, recurrent cores, and how they are assembled and initialized.

Architectures belong here. What normalizes their layers does not (`wnrl.nn.norms`).
"""
