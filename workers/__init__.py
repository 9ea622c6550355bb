"""The fleet: what runs executions."""
