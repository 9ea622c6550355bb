"""The local stack: a server, workers and Flower on one machine, started and stopped with one command."""
