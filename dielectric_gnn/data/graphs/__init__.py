"""Crystal graphs: neighbours, reverses, and orbits."""
