"""Pictures of episodes: kept while a policy plays them, and encoded for TensorBoard."""
