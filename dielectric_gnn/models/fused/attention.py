"""Attention over neighbours whose link features are never multiplied by a matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dielectric_gnn.models.fused.neighbour_list import Bucket, Neighbourhoods

_DENSE = torch.contiguous_format
"""Products into a block of a transposed tensor would be done one by one."""


def attend(
    query: Tensor, key: Tensor, value: Tensor, link_query: Tensor, links: Tensor, hoods: Neighbourhoods
) -> tuple[Tensor, Tensor]:
    """Softmax over the neighbours b of each node a, and the sums it weights.

    w_ab = softmax_b(q_a · k_b + p_a · f_ab), for every head; o_a = Σ_b w_ab v_b and g_a = Σ_b w_ab f_ab. With
    p = Wᵀq, p_a · f_ab is q_a · (W f_ab), and W g_a is Σ_b w_ab W f_ab: the matrix acts on nodes instead of links.

    Shapes:
        query, key, value (K, H, D), link_query p (K, H, F), links f (S, F) → o (K, H, D), g (K, H, F); zero for a node
        without a link. The softmax is in float32 or wider.
    """
    dtype = query.dtype
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
    inputs = (tensor.to(dtype) for tensor in (query, key, value, link_query, links))
    with torch.autocast(query.device.type, enabled=False):
        out: tuple[Tensor, Tensor] = _Attend.apply(*inputs, hoods)  # type: ignore[no-untyped-call]
    return out


class _Attend(torch.autograd.Function):
    """One pass over the links forward and one backward; saves its inputs and the weights."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, link_query: Tensor, links: Tensor, hoods: Neighbourhoods
    ) -> tuple[Tensor, Tensor]:
        out, sums = torch.empty_like(value), torch.empty(link_query.shape, dtype=links.dtype, device=links.device)
        weights = []
        end = 0
        for bucket in hoods.buckets:
            features = _features(links, bucket)
            logits = torch.bmm(link_query[bucket.nodes], features.mT).view(
                bucket.groups, bucket.collectors, -1, bucket.size
            )
            logits = logits + (_heads(query, bucket) @ _neighbours(key, bucket, hoods).mT).transpose(1, 2)
            slots = (bucket.groups, bucket.collectors, 1, bucket.size)
            if hoods.counts is not None:  # a link that stands for several equal ones weighs as much as all of them
                logits = logits + hoods.counts[bucket.slots].log().view(slots)
            empty = ~hoods.linked[bucket.slots].view(slots)
            weight = _softmax(logits.masked_fill_(empty, -torch.inf)).to(query.dtype)
            collected = weight.transpose(1, 2) @ _neighbours(value, bucket, hoods)
            out[bucket.nodes] = collected.transpose(1, 2).flatten(0, 1)
            torch.bmm(weight.flatten(0, 1), features, out=sums[bucket.nodes])
            weights.append(weight)
            end = bucket.nodes.stop
        out[end:], sums[end:] = 0, 0
        ctx.hoods = hoods
        ctx.save_for_backward(query, key, value, link_query, links, *weights)
        return out, sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_sums: Tensor) -> tuple[Tensor | None, ...]:
        hoods: Neighbourhoods = ctx.hoods
        query, key, value, link_query, links, *weights = ctx.saved_tensors
        grad_query, grad_link_query = torch.zeros_like(query), torch.empty_like(grad_sums, memory_format=_DENSE)
        grad_key, grad_value, grad_links = torch.zeros_like(key), torch.zeros_like(value), torch.empty_like(links)
        end = 0
        for bucket, weight in zip(hoods.buckets, weights, strict=True):
            features, grad_sum = _features(links, bucket), grad_sums[bucket.nodes]
            grad_collected = _heads(grad_out, bucket)
            grad_weight = torch.bmm(grad_sum, features.mT).view(weight.shape)
            grad_weight = grad_weight + (grad_collected @ _neighbours(value, bucket, hoods).mT).transpose(1, 2)
            grad_logits = torch.ops.aten._softmax_backward_data(grad_weight, weight, -1, weight.dtype)
            by_head = grad_logits.transpose(1, 2)
            grad_query[bucket.nodes] = (by_head @ _neighbours(key, bucket, hoods)).transpose(1, 2).flatten(0, 1)
            _add_to_neighbours(grad_key, by_head.mT @ _heads(query, bucket), bucket, hoods)
            _add_to_neighbours(grad_value, weight.transpose(1, 2).mT @ grad_collected, bucket, hoods)
            grad_logits, weight = grad_logits.flatten(0, 1), weight.flatten(0, 1)
            torch.bmm(grad_logits, features, out=grad_link_query[bucket.nodes])
            torch.bmm(grad_logits.mT, link_query[bucket.nodes], out=_features(grad_links, bucket))
            _features(grad_links, bucket).baddbmm_(weight.mT, grad_sum)
            end = bucket.nodes.stop
        grad_link_query[end:] = 0
        return grad_query, grad_key, grad_value, grad_link_query, grad_links, None


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=-1, dtype=torch.float32 if logits.element_size() < 4 else None)


def _features(links: Tensor, bucket: Bucket) -> Tensor:
    """Link features of a block: (groups · collectors, size, F)."""
    return links[bucket.slots].view(-1, bucket.size, links.shape[1])


def _heads(nodes: Tensor, bucket: Bucket) -> Tensor:
    """The collecting nodes of a block, head by head: (groups, H, collectors, D)."""
    return nodes[bucket.nodes].view(bucket.groups, bucket.collectors, *nodes.shape[1:]).transpose(1, 2)


def _neighbours(nodes: Tensor, bucket: Bucket, hoods: Neighbourhoods) -> Tensor:
    """The nodes at the places of a block, head by head: (groups, H, size, D)."""
    if bucket.mutual:
        return _heads(nodes, bucket)
    rows = nodes.index_select(0, hoods.neighbour[bucket.slots])
    return rows.view(bucket.groups, bucket.size, *nodes.shape[1:]).transpose(1, 2)


def _add_to_neighbours(total: Tensor, values: Tensor, bucket: Bucket, hoods: Neighbourhoods) -> None:
    """Add values at the places of a block (groups, H, size, D) to their nodes."""
    rows = values.transpose(1, 2).flatten(0, 1)
    if bucket.mutual:
        total[bucket.nodes] += rows
    else:
        total.index_add_(0, hoods.neighbour[bucket.slots], rows)
