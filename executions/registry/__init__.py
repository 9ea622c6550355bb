"""Everything that the system knows, in Redis: this folder alone speaks to the server."""
