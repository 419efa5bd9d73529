"""Residual update of pairs with its weights split into blocks.

f + W [x_a, x_b, f] + b = W_a x_a + W_b x_b + (1 + W_f) f + b: the blocks for the members act once per member instead of
once per pair, and the residual is part of the matrix that acts on the features, or on the rows that they share.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dielectric_gnn.models.fused.edge_features import EdgeFeatures


def split_pair_update(
    features: Tensor | EdgeFeatures, members: Tensor, pairs: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """The update of `PairUpdate` before its norm.

    Shapes:
        features (P, C), members (M, C), pairs (2, P) int64, weight (C, 3 C), bias (C,) → (P, C).
    """
    first, second, own = weight.chunk(3, dim=1)
    own = own + torch.eye(own.shape[0], dtype=own.dtype, device=own.device)
    updated = features.linear(own) if isinstance(features, EdgeFeatures) else F.linear(features, own)
    updated = updated + F.linear(members, first, bias).index_select(0, pairs[0])
    return updated + F.linear(members, second).index_select(0, pairs[1])
