"""Parts of `dielectric-gnn benchmark gpu`: functions that take a device, so that the CPU tests them."""
