"""Stores: materials as arrays, in memory or memory-mapped, with checksums."""
