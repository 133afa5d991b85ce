"""The client of the service, as programs import it."""

from vaewatch.service.client.client import Client
from vaewatch.service.client.connection import ServiceError
from vaewatch.service.client.verdicts import ServiceVerdict

__all__ = ["Client", "ServiceError", "ServiceVerdict"]
