"""Materials: records, their sources, graphs, the store, splits, sampling and the Lightning data module."""
