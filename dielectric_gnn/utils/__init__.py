"""Errors, atomic files, locks, schemas, limits and text: what every other package builds on."""
