"""How bodies of REST requests are read."""

from typing import Any

from rest_framework import exceptions
from rest_framework.parsers import JSONParser


class Json(JSONParser):
    """JSON. A body nested more deeply than Python can read is malformed: the caller's fault, not ours."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        """The parsed body. Raises ParseError."""
        try:
            return super().parse(*args, **kwargs)
        except RecursionError as error:
            raise exceptions.ParseError("JSON parse error - it is nested too deeply") from error
