"""Crystal-graph convolution with its weights split into blocks.

W [x_i, x_j, e_ij] = W_i x_i + W_j x_j + W_e e_ij: the blocks for x_i and x_j act once per node instead of once per
edge, and W_e acts on the rows of features that edges share. Both gates are one product, with W = [W_f; W_s].
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from dielectric_gnn.models.fused.edge_features import EdgeFeatures, FactoredFeatures
from dielectric_gnn.models.layers.segment import segment_sum, weight_by_count


def split_cgconv(x: Tensor, edges: FactoredFeatures, weight: Tensor, bias: Tensor) -> Tensor:
    """The layer `CGConv` for features of edges in factors.

    Shapes:
        x (N, C), weight [W_f; W_s] (2 C, 2 C + D), bias (2 C,) → (N, C).
    """
    receiver_weight, sender_weight, edge_weight = weight.tensor_split([x.shape[1], 2 * x.shape[1]], dim=1)
    if isinstance(edges, EdgeFeatures):
        edge_index, counts, z = edges.edges.index, edges.edges.counts, edges.linear(edge_weight)
    else:
        edge_index, features, counts = edges.to_dense()
        z = F.linear(features, edge_weight)
    receiver, sender = edge_index
    z = z + F.linear(x, receiver_weight, bias).index_select(0, receiver)
    z = z + F.linear(x, sender_weight).index_select(0, sender)
    gate, value = z.chunk(2, dim=1)
    return x + segment_sum(weight_by_count(gate.sigmoid() * F.softplus(value), counts), receiver, x.shape[0])
