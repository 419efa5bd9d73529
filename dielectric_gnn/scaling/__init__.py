"""Neural scaling laws: forms, fits with intervals, comparison and verdict. Imports no PyTorch.

`fit` is the entry point; `ScalingFits` is its result.
"""

from dielectric_gnn.scaling.api import ScalingFits, fit

__all__ = ["ScalingFits", "fit"]
