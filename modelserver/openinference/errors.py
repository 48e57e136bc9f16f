"""What can go wrong: with the model, which ends the server, and with a request, which ends that request."""


class ModelError(Exception):
    """The model can't be fetched or is not what this server can load. The message says why."""


class InvalidRequest(Exception):
    """The request can't be answered; the message tells its sender what to change."""
