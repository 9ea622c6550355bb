"""Who asks, what they may do, and what a browser may do in their name."""
