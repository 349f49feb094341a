"""Normalizations of a sample's features as one vector, without parameters."""

from torch import Tensor, nn


class UnitLength(nn.Module):
    """Each sample's features at length 1: (B, ...) -> the same.

        y = x / max(||x||, eps)

    with the length over all of a sample's values. Features of zeros stay zeros.

    Args:
        eps: lower bound of the length.

    Source: Hussing et al. 2024, arXiv 2403.05996 (output feature normalization).
    """

    def __init__(self, eps: float = 1e-12) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        """(B, ...) -> the same shape."""
        flat = nn.functional.normalize(input.flatten(1), dim=1, eps=self.eps)
        return flat.view_as(input)

    def extra_repr(self) -> str:
        """Show the argument."""
        return f"eps={self.eps}"


class Simplicial(nn.Module):
    """Groups of V units, each a point of a simplex: (B, F) or (B, C, H, W) -> the same.

        y_g = softmax(x_g / temperature)        for each group g of V successive units

    Args:
        simplex_units: V; divides the features or channels.
        temperature: the higher, the closer to 1 / V; the lower, the closer to one-hot.

    Raises:
        ValueError: from `forward`, a number of units that V does not divide.

    Source: Lavoie et al. 2022, arXiv 2204.00616, section 3, where x is linear in the layer before;
    in RL, Obando-Ceron et al. 2025, arXiv 2510.13704.
    """

    def __init__(self, simplex_units: int = 8, temperature: float = 1.0) -> None:
        super().__init__()
        self.simplex_units = simplex_units
        self.temperature = temperature

    def forward(self, input: Tensor) -> Tensor:
        """(B, F) or (B, C, H, W) -> the same shape."""
        if input.ndim < 2 or input.shape[1] % self.simplex_units:
            raise ValueError(
                f"input is {tuple(input.shape)}: its units, along axis 1, must be divisible by "
                f"simplex_units, {self.simplex_units}"
            )
        groups = input.unflatten(1, (-1, self.simplex_units))  # (B, F, ...) -> (B, F / V, V, ...)
        points: Tensor = (groups / self.temperature).softmax(dim=2)
        return points.flatten(1, 2)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"simplex_units={self.simplex_units}, temperature={self.temperature}"
