"""Evidence: what happened, in bytes that can be checked."""
