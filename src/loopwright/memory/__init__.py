"""What people corrected, remembered: shown to the next request that is like it, and measured."""
