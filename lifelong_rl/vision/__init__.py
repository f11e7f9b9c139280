"""Learning to see without labels."""
