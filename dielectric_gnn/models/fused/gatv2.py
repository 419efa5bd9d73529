"""Attention of `GATv2Conv` by pairs of atoms, with no array of edges times channels in memory.

With l = W_l x, r = W_r x and the pair p = (i, j) of an edge e, z_e = (r_i + l_j)_p + W_e f_e: the sum in brackets is
computed once per pair, and so is the message, Σ_e w_e l_j = (Σ_{e in p} w_e) l_j. Edges occur in z only, of which the
logits a · LeakyReLU(z_e) remain. Blocks of edges that fit into the cache are computed in turn, and again in the
backward pass, where dz_e = dlogit_e a ⊙ LeakyReLU'(z_e): a second matrix product costs less than to store z.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dielectric_gnn.models.fused.atom_pairs import AtomPairs
from dielectric_gnn.models.layers.segment import at_least_float32, in_autocast_precision, segment_softmax, segment_sum

MIN_EDGES = 1000
"""Number of edges from which this form was measured to be faster; with fewer, further kernel calls cost more."""

_BLOCK_NUMBERS = 2**18
"""Numbers in a block of z, 1 MiB in single precision."""


def is_faster(edge_index: Tensor) -> bool:
    """Whether this form is used: on the CPU, for many edges, in graphs that are not compiled.

    It was not timed on other devices nor with a compiler.
    """
    on_cpu = edge_index.device.type == "cpu" and not torch.compiler.is_compiling()
    return on_cpu and edge_index.shape[1] >= MIN_EDGES


def attend_by_pairs(
    right: Tensor,
    left: Tensor,
    edges: Tensor,
    edge_weight: Tensor,
    attention: Tensor,
    slope: float,
    pairs: AtomPairs,
    counts: Tensor | None,
) -> Tensor:
    """Σ_j softmax_j(a · LeakyReLU(r_i + l_j + W_e f_ij)) l_j for every head; sources of `pairs` are the receivers.

    Shapes:
        right r, left l (N, H · C), edges f (E, D) and counts (E,) in the order of the pairs, edge_weight W_e
        (H · C, D), attention a (H, C) → (N, H · C), zero for a node without an edge; in float32 or wider, as is the
        softmax.
    """
    right, left, edges, edge_weight, attention = in_autocast_precision(right, left, edges, edge_weight, attention)
    nodes = right.shape[0]
    with torch.autocast(right.device.type, enabled=False):
        sender = left.index_select(0, pairs.target)
        members = right.index_select(0, pairs.source) + sender
        logits = _Logits.apply(members, edges, edge_weight, attention, slope, pairs.of_edge)  # type: ignore[no-untyped-call]
        receiver = pairs.source.index_select(0, pairs.of_edge)
        weights = segment_sum(segment_softmax(logits, receiver, nodes, counts), pairs.of_edge, pairs.count)
        messages = weights[:, :, None] * at_least_float32(sender).view(-1, *attention.shape)
        return segment_sum(messages.flatten(1), pairs.source, nodes)


class _Logits(torch.autograd.Function):
    """a · LeakyReLU(m_p + W_e f_e) for every edge e of a pair p: m (P, H · C), f (E, D) → (E, H)."""

    @staticmethod
    def forward(
        ctx: Any, members: Tensor, edges: Tensor, weight: Tensor, attention: Tensor, slope: float, of_edge: Tensor
    ) -> Tensor:
        ctx.save_for_backward(members, edges, weight, attention, of_edge)
        ctx.slope = slope
        vectors = _block_diagonal(attention)
        blocks = [
            _activated(members, edges[rows], weight, of_edge[rows], slope) @ vectors.mT
            for rows in _blocks(edges, members)
        ]
        return torch.cat(blocks)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        members, edges, weight, attention, of_edge = ctx.saved_tensors
        vectors = _block_diagonal(attention)
        wide = at_least_float32(members)
        grad_members, grad_vectors = torch.zeros_like(wide), torch.zeros_like(vectors, dtype=wide.dtype)
        grad_weight = torch.zeros_like(weight, dtype=wide.dtype)
        grad_edges = torch.empty_like(edges) if ctx.needs_input_grad[1] else None
        for rows in _blocks(edges, members):
            activated = _activated(members, edges[rows], weight, of_edge[rows], ctx.slope)
            grad_vectors += grad[rows].mT @ activated
            # The sign of the activated values is that of z.
            grad_z = torch.ops.aten.leaky_relu_backward(grad[rows] @ vectors, activated, ctx.slope, True)
            grad_weight += grad_z.mT @ edges[rows]
            grad_members.index_add_(0, of_edge[rows], at_least_float32(grad_z))
            if grad_edges is not None:
                grad_edges[rows] = grad_z @ weight
        heads = torch.arange(attention.shape[0], device=attention.device)
        grad_attention = grad_vectors.view(*attention.shape[:1], *attention.shape)[heads, heads]
        gradients = (grad_members.to(members.dtype), grad_edges, grad_weight.to(weight.dtype))
        return *gradients, grad_attention.to(attention.dtype), None, None


def _block_diagonal(attention: Tensor) -> Tensor:
    """Attention vectors (H, C) → (H, H · C), each at the channels of its head: one product gives the logits of all."""
    out: Tensor = torch.block_diag(*attention)  # type: ignore[no-untyped-call]
    return out


def _activated(members: Tensor, edges: Tensor, weight: Tensor, of_edge: Tensor, slope: float) -> Tensor:
    """LeakyReLU(z) of a block of edges, in one array."""
    return F.leaky_relu_(members.index_select(0, of_edge).addmm_(edges, weight.mT), slope)


def _blocks(edges: Tensor, members: Tensor) -> Iterator[slice]:
    """Ranges of edges whose z fits into the cache; one, which is empty, if there are none."""
    number, size = edges.shape[0], max(_BLOCK_NUMBERS // members.shape[1], 1)
    for first in range(0, max(number, 1), size):
        yield slice(first, first + size)
