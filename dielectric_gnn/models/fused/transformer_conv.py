"""Weighted sum of `TransformerConv` whose edge matrix acts on nodes, never on an edge.

For features of links f_ab = s_a M f̃_ab + u_a + v_b: the term u_a shifts all logits of a receiver equally, so it enters
values only; v_b is added to keys and values; and W_e M acts on queries and on the sums over senders
(`fused.attention`). The gate w · [o, s, o − s] is (w_1 + w_3) · o + (w_2 − w_3) · s, without the concatenation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from dielectric_gnn.models.fused.attention import attend
from dielectric_gnn.models.fused.edge_features import LinkFeatures
from dielectric_gnn.models.layers.segment import at_least_float32


def weighted_sum_of_values(
    query: Tensor, key: Tensor, value: Tensor, links: LinkFeatures, edge_weight: Tensor, heads: int
) -> Tensor:
    """o_i = Σ_j softmax_j(q_i · (k_j + W_e e_ij) / √(C/heads)) (v_j + W_e e_ij).

    Shapes:
        query, key, value (K, C) of the renumbered nodes, edge_weight W_e (C, D) → (N, C), zero for a node without a
        link.
    """
    by_head = (-1, heads, query.shape[1] // heads)
    query = query / math.sqrt(by_head[2])
    if links.second is not None:
        second = F.linear(links.second, edge_weight)
        key, value = key + second, value + second
    matrix = edge_weight if links.matrix is None else edge_weight @ links.matrix
    of_head = matrix.view(heads, -1, matrix.shape[1])
    link_query = torch.bmm(links.scale_rows(query).view(by_head).transpose(0, 1), of_head).transpose(0, 1)
    query, key, value = (part.view(by_head) for part in (query, key, value))
    out, sums = attend(query, key, value, link_query, links.features, links.neighbour_list)
    through = torch.bmm(sums.transpose(0, 1), of_head.mT).transpose(0, 1).flatten(1)
    out = out.flatten(1) + links.scale_rows(through)
    if links.first is not None:
        out = out + F.linear(links.first, edge_weight)
    return links.neighbour_list.to_graph_nodes(at_least_float32(out))


def gated_skip(summed: Tensor, skip: Tensor, weight: Tensor) -> Tensor:
    """β s + (1 − β) o with β = σ(w · [o, s, o − s]).

    Shapes:
        summed o (N, C), skip s (N, C), weight w (1, 3 C) → (N, C).
    """
    first, second, difference = weight.chunk(3, dim=1)
    beta = (F.linear(summed, first + difference) + F.linear(skip, second - difference)).sigmoid()
    return torch.lerp(summed, skip.to(summed.dtype), beta.to(summed.dtype))
