"""Padded neighbour lists: the links of a graph in rectangular blocks, so that sums over senders are matrix products.

A link leads from a sender to a receiver. Receivers with equally many senders form a bucket, a dense array of
(receivers, senders) slots, whose unused slots are masked: Σ_b w_ab v_b over the senders b of all receivers a of a
bucket is one batched matrix product instead of a scatter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dielectric_gnn.models.layers.segment import segment_count

MIN_BUCKETS, MAX_BUCKETS = 4, 16
"""Limits of the number of buckets, for small and for large batches; every bucket costs a few kernel calls."""

LINKS_PER_BUCKET = 1000
"""Number of links for which one further bucket pays."""


@dataclass(frozen=True)
class Bucket:
    """A block of groups; in each group, the same number of receivers have the same `size` senders.

    Args:
        groups: Number of groups.
        receivers: Receivers in each group.
        size: Senders in each group, padding included.
        first_node: Number of the first receiver.
        first_slot: Number of the first slot; a slot is a pair of receiver and sender.
        mutual: Whether the senders of a group are its receivers.
    """

    groups: int
    receivers: int
    size: int
    first_node: int
    first_slot: int
    mutual: bool = False

    @property
    def nodes(self) -> slice:
        """Its receivers, (groups · receivers)."""
        return slice(self.first_node, self.first_node + self.groups * self.receivers)

    @property
    def slots(self) -> slice:
        """Its slots, (groups · receivers · size)."""
        return slice(self.first_slot, self.first_slot + self.groups * self.receivers * self.size)


@dataclass(frozen=True)
class PaddedNeighbourList:
    """The links of a graph as buckets of slots; nodes are renumbered, bucket after bucket.

    Shapes:
        buckets: The blocks. nodes: (K,) int64, the node of the graph behind each number. exists: (K,) bool, false for
        a number that pads a group and repeats a node. receiver, sender: (S,) int64, numbers of the nodes of each slot.
        linked: (S,) bool, whether the slot is a link (true) or padding; every node with slots has at least one link.
        num_nodes: N, nodes of the graph. counts: (S,), how many equal links a slot stands for; None means one.
    """

    buckets: tuple[Bucket, ...]
    nodes: Tensor
    exists: Tensor
    receiver: Tensor
    sender: Tensor
    linked: Tensor
    num_nodes: int
    counts: Tensor | None = None

    def to_graph_nodes(self, values: Tensor) -> Tensor:
        """Values of the renumbered nodes (K, C) at the nodes of the graph (N, C), zero elsewhere."""
        rows = values.new_zeros(self.num_nodes + 1, values.shape[1])
        rows = rows.index_copy(0, self.nodes.where(self.exists, self.num_nodes), values)
        return rows[: self.num_nodes]

    def is_receiver(self) -> Tensor:
        """Whether each renumbered node has a slot (K,)."""
        end = self.buckets[-1].nodes.stop if self.buckets else 0
        return torch.arange(self.nodes.shape[0], device=self.nodes.device) < end


def max_buckets(num_links: int, device: torch.device) -> int:
    """Largest number of buckets: few on a GPU, where kernel calls cost more and padding costs less."""
    if device.type != "cpu":
        return MIN_BUCKETS
    return min(max(num_links // LINKS_PER_BUCKET, MIN_BUCKETS), MAX_BUCKETS)


def groups_of_equal_size(counts: Tensor, smallest: int, most: int) -> Iterator[tuple[int, Tensor]]:
    """The padded size of each bucket, and the groups in it.

    Sizes are rounded up to multiples of the smallest power of two that leaves at most `most` buckets. They are computed
    on the CPU, which costs a GPU one synchronisation.

    Args:
        counts: Members of each group (A,) int64.
        smallest: Groups with fewer members are left out.
        most: Largest number of buckets.
    """
    step, sizes = 1, counts.cpu().numpy()
    sizes = np.where(sizes >= smallest, sizes, 0)
    while (present := np.unique(sizes[sizes > 0])).size > most:
        step *= 2
        sizes = (sizes + step - 1) // step * step
    for size in present.tolist():
        yield size, torch.from_numpy(np.flatnonzero(sizes == size)).to(counts.device, non_blocking=True)


def padded_members(counts: Tensor, groups: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Rows of the members of some groups, padded to `size`, where the members of each group are contiguous.

    Shapes:
        counts (A,) of all groups, groups (G,) → rows (G, size), and exists (G, size) bool; padding repeats the first
        member.
    """
    first = (counts.cumsum(0) - counts).index_select(0, groups)[:, None]
    column = torch.arange(size, device=counts.device)
    exists = column < counts.index_select(0, groups)[:, None]
    return first + column.where(exists, 0), exists


def padded_neighbour_list(
    edge_index: Tensor, num_nodes: int, counts: Tensor | None = None
) -> tuple[PaddedNeighbourList, Tensor, Tensor]:
    """The padded neighbour list of edges that are sorted by source; the source is the receiver.

    Shapes:
        edge_index (2, E), counts (E,), how many equal edges each stands for → the list, the edge of each slot (S,), and
        the slot of each edge (E,).
    """
    source, target = edge_index
    degrees = segment_count(source, num_nodes)
    device = source.device
    buckets, nodes, edges, linked = [], [], [], []
    first_node = first_slot = 0
    for size, groups in groups_of_equal_size(degrees, 1, max_buckets(source.shape[0], device)):
        rows, exists = padded_members(degrees, groups, size)
        buckets.append(Bucket(groups.shape[0], 1, size, first_node, first_slot))
        first_node, first_slot = buckets[-1].nodes.stop, buckets[-1].slots.stop
        nodes.append(groups)
        edges.append(rows.flatten())
        linked.append(exists.flatten())
    nodes.append((degrees == 0).nonzero().squeeze(1))  # nodes without a link come last
    order, none = torch.cat(nodes), source.new_zeros(0)
    edge_of_slot, is_link = torch.cat([none, *edges]), torch.cat([none.bool(), *linked])
    number = torch.empty_like(order).scatter_(0, order, torch.arange(num_nodes, device=device))
    sender = number.index_select(0, target.index_select(0, edge_of_slot))
    receiver = number.index_select(0, source.index_select(0, edge_of_slot))
    everywhere = torch.ones_like(order, dtype=torch.bool)
    slot_of_edge = positions_of(edge_of_slot, is_link, source.shape[0])
    of_slot = None if counts is None else counts.index_select(0, edge_of_slot)
    neighbour_list = PaddedNeighbourList(
        tuple(buckets), order, everywhere, receiver, sender, is_link, num_nodes, of_slot
    )
    return neighbour_list, edge_of_slot, slot_of_edge


def positions_of(rows: Tensor, chosen: Tensor, num_rows: int) -> Tensor:
    """Position of each of `num_rows` rows in the list `rows`, among the chosen entries, which hold each row once."""
    positions = torch.arange(rows.shape[0], device=rows.device)
    # Entries that are not chosen are written to an extra row, which is cut off.
    return rows.new_zeros(num_rows + 1).scatter_(0, rows.where(chosen, num_rows), positions)[:num_rows]
