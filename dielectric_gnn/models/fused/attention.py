"""Attention over a padded neighbour list as one autograd function, whose link features meet no matrix.

With p = Wᵀq, the logit q_a · (W f_ab) is p_a · f_ab; and Σ_b w_ab W f_ab = W g_a with g_a = Σ_b w_ab f_ab. So the
matrix W of the link features acts on nodes instead of links, and only logits and weights are as many as links.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dielectric_gnn.models.fused.neighbour_list import Bucket, PaddedNeighbourList
from dielectric_gnn.models.layers.segment import in_autocast_precision

_DENSE = torch.contiguous_format
"""Batched products that write into a slice of a transposed tensor are computed one matrix at a time."""


def attend(
    query: Tensor, key: Tensor, value: Tensor, link_query: Tensor, links: Tensor, neighbour_list: PaddedNeighbourList
) -> tuple[Tensor, Tensor]:
    """Softmax over the senders b of each receiver a, and the two sums that it weights.

    w_ab = softmax_b(q_a · k_b + p_a · f_ab), for every head; o_a = Σ_b w_ab v_b and g_a = Σ_b w_ab f_ab.

    Shapes:
        query, key, value (K, H, D), link_query p (K, H, F), links f (S, F) → o (K, H, D), g (K, H, F); zero for a node
        without a link. The softmax is in float32 or wider.
    """
    inputs = in_autocast_precision(query, key, value, link_query, links)
    with torch.autocast(query.device.type, enabled=False):
        out: tuple[Tensor, Tensor] = _Attend.apply(*inputs, neighbour_list)  # type: ignore[no-untyped-call]
    return out


class _Attend(torch.autograd.Function):
    """One pass over the links in each direction; saves its inputs and the weights."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        link_query: Tensor,
        links: Tensor,
        neighbour_list: PaddedNeighbourList,
    ) -> tuple[Tensor, Tensor]:
        out, sums = torch.empty_like(value), torch.empty(link_query.shape, dtype=links.dtype, device=links.device)
        weights = []
        end = 0
        for bucket in neighbour_list.buckets:
            features = _features(links, bucket)
            logits = torch.bmm(link_query[bucket.nodes], features.mT).view(
                bucket.groups, bucket.receivers, -1, bucket.size
            )
            logits = logits + (_receivers(query, bucket) @ _senders(key, bucket, neighbour_list).mT).transpose(1, 2)
            slots = (bucket.groups, bucket.receivers, 1, bucket.size)
            if neighbour_list.counts is not None:  # the weight of all equal links
                logits = logits + neighbour_list.counts[bucket.slots].log().view(slots)
            empty = ~neighbour_list.linked[bucket.slots].view(slots)
            weight = _softmax(logits.masked_fill_(empty, -torch.inf)).to(query.dtype)
            weighted_values = weight.transpose(1, 2) @ _senders(value, bucket, neighbour_list)
            out[bucket.nodes] = weighted_values.transpose(1, 2).flatten(0, 1)
            torch.bmm(weight.flatten(0, 1), features, out=sums[bucket.nodes])
            weights.append(weight)
            end = bucket.nodes.stop
        out[end:], sums[end:] = 0, 0
        ctx.neighbour_list = neighbour_list
        ctx.save_for_backward(query, key, value, link_query, links, *weights)
        return out, sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_sums: Tensor) -> tuple[Tensor | None, ...]:
        neighbour_list: PaddedNeighbourList = ctx.neighbour_list
        query, key, value, link_query, links, *weights = ctx.saved_tensors
        grad_query, grad_link_query = torch.zeros_like(query), torch.empty_like(grad_sums, memory_format=_DENSE)
        grad_key, grad_value, grad_links = torch.zeros_like(key), torch.zeros_like(value), torch.empty_like(links)
        end = 0
        for bucket, weight in zip(neighbour_list.buckets, weights, strict=True):
            features, grad_sum = _features(links, bucket), grad_sums[bucket.nodes]
            grad_values_sum = _receivers(grad_out, bucket)
            grad_weight = torch.bmm(grad_sum, features.mT).view(weight.shape)
            grad_weight = grad_weight + (grad_values_sum @ _senders(value, bucket, neighbour_list).mT).transpose(1, 2)
            grad_logits = torch.ops.aten._softmax_backward_data(grad_weight, weight, -1, weight.dtype)
            by_head = grad_logits.transpose(1, 2)
            grad_query[bucket.nodes] = (by_head @ _senders(key, bucket, neighbour_list)).transpose(1, 2).flatten(0, 1)
            _add_to_senders(grad_key, by_head.mT @ _receivers(query, bucket), bucket, neighbour_list)
            _add_to_senders(grad_value, weight.transpose(1, 2).mT @ grad_values_sum, bucket, neighbour_list)
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
    """Link features of a bucket: (groups · receivers, size, F)."""
    return links[bucket.slots].view(-1, bucket.size, links.shape[1])


def _receivers(nodes: Tensor, bucket: Bucket) -> Tensor:
    """The receivers of a bucket, head by head: (groups, H, receivers, D)."""
    return nodes[bucket.nodes].view(bucket.groups, bucket.receivers, *nodes.shape[1:]).transpose(1, 2)


def _senders(nodes: Tensor, bucket: Bucket, neighbour_list: PaddedNeighbourList) -> Tensor:
    """The senders of a bucket, head by head: (groups, H, size, D)."""
    if bucket.mutual:
        return _receivers(nodes, bucket)
    rows = nodes.index_select(0, neighbour_list.sender[bucket.slots])
    return rows.view(bucket.groups, bucket.size, *nodes.shape[1:]).transpose(1, 2)


def _add_to_senders(total: Tensor, values: Tensor, bucket: Bucket, neighbour_list: PaddedNeighbourList) -> None:
    """Add values at the senders of a bucket (groups, H, size, D) to `total`."""
    rows = values.transpose(1, 2).flatten(0, 1)
    if bucket.mutual:
        total[bucket.nodes] += rows
    else:
        total.index_add_(0, neighbour_list.sender[bucket.slots], rows)
