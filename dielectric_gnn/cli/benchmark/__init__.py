"""`dielectric-gnn benchmark`: measurements of this machine, one module for each."""
