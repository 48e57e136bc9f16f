"""Commands that pages offer to copy: what is named in them is quoted, whatever it is."""

import shlex

from django.conf import settings

_POST = """curl -X POST {url}/api/v1/{path} \\
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d {body}"""


def posting(path: str, body: str) -> str:
    """The command that posts a body of JSON to a path of the REST API, such as "runs"."""
    return _POST.format(url=settings.PUBLIC_URL, path=path, body=shlex.quote(body))
