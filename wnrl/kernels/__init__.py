"""The mathematics of weight normalization on tensors: the reference that every fast path is tested against."""
