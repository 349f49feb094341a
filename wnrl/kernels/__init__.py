"""The mathematics of weight normalization on tensors: the reference of every fast path."""
