"""Errors: of the model, which end the server, and of a request, which end that request alone."""


class ModelError(Exception):
    """The model can't be fetched or is not what this server can load. The message says why."""


class InvalidRequest(Exception):
    """The request can't be answered; the message tells its sender what to change."""
