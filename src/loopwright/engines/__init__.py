"""Programs of ours that host weights on this machine, each in a process of its own. Knows nothing of the catalog."""
