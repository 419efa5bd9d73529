"""What several benchmarks have in common."""

from __future__ import annotations

from functools import partial

from dielectric_gnn.models.layers.message_passing import TransformerConv

TWO_HEADS = partial(TransformerConv, heads=2)
"""Attention of OptiMetal2B (TC) as in every published run."""

WARM_UP = 2
"""Repeats that are not counted: the first ones allocate memory."""
