"""The product keeps the shape that scripts/shape.py describes."""

from script_modules import load_script


def test_the_product_is_within_every_limit_of_shape() -> None:
    broken = [str(limit) for limit in load_script("shape.py").limits() if not limit.holds]
    assert not broken, "\n".join(["", *broken])
