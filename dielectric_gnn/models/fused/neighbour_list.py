"""Who collects from whom, in rectangular blocks, so that sums over neighbours become small matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MIN_BUCKETS, MAX_BUCKETS = 4, 16
"""Most blocks that a small and a large batch are cut into; every block costs a few calls."""

LINKS_PER_BUCKET = 1000
"""So many links are worth one block more."""


@dataclass(frozen=True)
class Bucket:
    """A block of groups: in each, `collectors` nodes collect from the same `size` places.

    Args:
        groups: How many groups.
        collectors: Nodes of each group.
        size: Places of each group; a group with fewer neighbours leaves some empty.
        first_node: Number of the first node.
        first_slot: Number of the first slot, which is a node with a place.
        mutual: Whether the nodes of a group collect from each other: its places are its nodes.
    """

    groups: int
    collectors: int
    size: int
    first_node: int
    first_slot: int
    mutual: bool = False

    @property
    def nodes(self) -> slice:
        """Its nodes, (groups · collectors)."""
        return slice(self.first_node, self.first_node + self.groups * self.collectors)

    @property
    def slots(self) -> slice:
        """Its slots, (groups · collectors · size)."""
        return slice(self.first_slot, self.first_slot + self.groups * self.collectors * self.size)


@dataclass(frozen=True)
class Neighbourhoods:
    """The links of a graph as blocks of slots; nodes are numbered anew, block after block.

    Shapes:
        buckets: The blocks. nodes: (K,) int64, the node of the graph behind each number. exists: (K,) bool, false for
        a number that fills up a group and repeats a node. collector, neighbour: (S,) int64, numbers of the collecting
        node of each slot and of the node at its place. linked: (S,) bool, whether the slot is a link; every node with
        slots has at least one. num_nodes: N, nodes of the graph. counts: (S,), how many equal links a slot stands for;
        None means one.
    """

    buckets: tuple[Bucket, ...]
    nodes: Tensor
    exists: Tensor
    collector: Tensor
    neighbour: Tensor
    linked: Tensor
    num_nodes: int
    counts: Tensor | None = None

    def spread(self, values: Tensor) -> Tensor:
        """Values of the numbered nodes (K, C) at the nodes of the graph (N, C), zero elsewhere."""
        rows = values.new_zeros(self.num_nodes + 1, values.shape[1])
        rows = rows.index_copy(0, self.nodes.where(self.exists, self.num_nodes), values)
        return rows[: self.num_nodes]

    def collects(self) -> Tensor:
        """Whether each numbered node has a slot (K,)."""
        end = self.buckets[-1].nodes.stop if self.buckets else 0
        return torch.arange(self.nodes.shape[0], device=self.nodes.device) < end


def most_buckets(num_links: int, device: torch.device) -> int:
    """How many blocks at most: few on a GPU, where calls cost more and filled-up places less."""
    if device.type != "cpu":
        return MIN_BUCKETS
    return min(max(num_links // LINKS_PER_BUCKET, MIN_BUCKETS), MAX_BUCKETS)


def groups_of_equal_size(counts: Tensor, smallest: int, most: int) -> Iterator[tuple[int, Tensor]]:
    """Which groups go into one block, and how many places it has.

    Sizes are rounded up to multiples of the smallest power of two that leaves at most so many blocks. They are found
    out by the processor, for which a GPU is asked once.

    Args:
        counts: Members of each group (A,) int64.
        smallest: Groups with fewer members are left out.
        most: Number of blocks.
    """
    step, sizes = 1, counts.cpu().numpy()
    sizes = np.where(sizes >= smallest, sizes, 0)
    while (present := np.unique(sizes[sizes > 0])).size > most:
        step *= 2
        sizes = (sizes + step - 1) // step * step
    for size in present.tolist():
        yield size, torch.from_numpy(np.flatnonzero(sizes == size)).to(counts.device, non_blocking=True)


def members(counts: Tensor, groups: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Rows of the members of some groups, where those of each group follow each other, and which of them exist.

    Shapes:
        counts (A,) of all groups, groups (G,) → rows (G, size), exists (G, size); a place without a member repeats the
        first.
    """
    first = (counts.cumsum(0) - counts).index_select(0, groups)[:, None]
    within = torch.arange(size, device=counts.device)
    exists = within < counts.index_select(0, groups)[:, None]
    return first + within.where(exists, 0), exists


def atom_neighbourhoods(
    edge_index: Tensor, num_nodes: int, counts: Tensor | None = None
) -> tuple[Neighbourhoods, Tensor, Tensor]:
    """Every node with its neighbours, for edges that are sorted by source.

    Shapes:
        edge_index (2, E), counts (E,), how many equal edges each stands for → the blocks, the edge of each slot (S,),
        and the slot of each edge (E,).
    """
    source, target = edge_index
    degrees = segment_sum_of_ones(source, num_nodes)
    device = source.device
    buckets, nodes, edges, linked = [], [], [], []
    first_node = first_slot = 0
    for size, groups in groups_of_equal_size(degrees, 1, most_buckets(source.shape[0], device)):
        rows, exists = members(degrees, groups, size)
        buckets.append(Bucket(groups.shape[0], 1, size, first_node, first_slot))
        first_node, first_slot = buckets[-1].nodes.stop, buckets[-1].slots.stop
        nodes.append(groups)
        edges.append(rows.flatten())
        linked.append(exists.flatten())
    nodes.append((degrees == 0).nonzero().squeeze(1))  # they collect nothing
    order, none = torch.cat(nodes), source.new_zeros(0)
    edge_of_slot, is_link = torch.cat([none, *edges]), torch.cat([none.bool(), *linked])
    number = torch.empty_like(order).scatter_(0, order, torch.arange(num_nodes, device=device))
    neighbour = number.index_select(0, target.index_select(0, edge_of_slot))
    collector = number.index_select(0, source.index_select(0, edge_of_slot))
    everywhere = torch.ones_like(order, dtype=torch.bool)
    slot_of_edge = positions_of(edge_of_slot, is_link, source.shape[0])
    of_slot = None if counts is None else counts.index_select(0, edge_of_slot)
    hoods = Neighbourhoods(tuple(buckets), order, everywhere, collector, neighbour, is_link, num_nodes, of_slot)
    return hoods, edge_of_slot, slot_of_edge


def segment_sum_of_ones(segment: Tensor, num_segments: int) -> Tensor:
    """Rows of each segment, as integers (num_segments,)."""
    return segment.new_zeros(num_segments).index_add_(0, segment, torch.ones_like(segment))


def positions_of(rows: Tensor, chosen: Tensor, num_rows: int) -> Tensor:
    """Where each of `num_rows` rows stands in the list `rows`, among the entries that are chosen; each stands once."""
    places = torch.arange(rows.shape[0], device=rows.device)
    # What is not chosen goes to a row that nobody reads.
    return rows.new_zeros(num_rows + 1).scatter_(0, rows.where(chosen, num_rows), places)[:num_rows]


def gather_rows(rows: Tensor, index: Tensor, uses: Tensor) -> Tensor:
    """`rows[index]`, whose gradient is collected by reading instead of by adding to random places.

    Shapes:
        rows (R, C), index (S,) int64, uses (k, R) int64, the places in `index` that count for each row, equally many
        for all rows; the gradient of other places must be zero → (S, C).
    """
    out: Tensor = _GatherRows.apply(rows, index, uses)  # type: ignore[no-untyped-call]
    return out


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, uses: Tensor) -> Tensor:
        ctx.save_for_backward(uses)
        return rows.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (uses,) = ctx.saved_tensors
        total = grad.index_select(0, uses[0])
        for places in uses[1:]:
            total += grad.index_select(0, places)
        return total, None, None
