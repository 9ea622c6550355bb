"""The client: everything that an application, a shell or a page asks of the registry goes through here."""

from executions.client.client import Client

__all__ = ["Client"]
