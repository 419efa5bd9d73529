"""The common base class of backbones and baselines."""

from __future__ import annotations

from torch import nn

from dielectric_gnn.utils.described import Describable


class BackboneOrBaseline(Describable, nn.Module):
    """What `model.backbone` takes: a `Backbone`, or a `Baseline` in its place.

    (One class instead of a union: jsonargparse would hide the reason why a class of a union cannot be built.)
    """

    supports_orbits: bool = False
    cutoff: float
