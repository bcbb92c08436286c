"""Accepting a message: validation, idempotency, one transaction; by HTTP, by queue, by command line."""
