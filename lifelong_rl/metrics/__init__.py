"""What a performance matrix and learning curves say: pure functions on arrays."""
