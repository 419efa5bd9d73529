"""Faster exact forms of the plain layers, one trick per file, each with its equation; see `docs/speed.md`."""
