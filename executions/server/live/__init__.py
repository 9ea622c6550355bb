"""What happens, as it happens: one reader for each web process, and as many listeners as come."""
