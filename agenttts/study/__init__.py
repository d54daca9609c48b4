"""The loop around allocators: trials, their archive, the event log of a run, statistics, confirmation; scored plans."""
