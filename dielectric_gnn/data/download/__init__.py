"""The published data from figshare."""
