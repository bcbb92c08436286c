"""The pages for support staff: what happened to a message, and what a person can do. See `pages`."""
