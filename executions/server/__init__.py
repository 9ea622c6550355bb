"""The page and the HTTP API: one ASGI application without a state of its own, see `app.make_app`."""
