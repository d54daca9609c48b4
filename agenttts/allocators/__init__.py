"""What proposes the next allocations. Every allocator sees the same archive, space and budget."""
