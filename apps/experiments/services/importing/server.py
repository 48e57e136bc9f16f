"""The other MLflow server: its REST API, asked with patience and no client of MLflow's."""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import urllib3

from apps.core.errors import FlotillaError, Invalid, Missing

API, AJAX = "/api/2.0/mlflow", "/ajax-api/2.0/mlflow"
CONNECT_SECONDS = 10.0
# How often a request is tried, and how long is waited in between: a server that restarts is back by then.
TRIES, FIRST_WAIT, LONGEST_WAIT = 6, 0.5, 30.0
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
CHUNK = 1024 * 1024


class NotAnswered(FlotillaError):
    """The other server did not answer, or not as MLflow does."""

    title = "No answer"


class Refused(FlotillaError):
    """The other server says that it will not: its status and the beginning of its words are in the message."""

    title = "Refused"


@dataclass(frozen=True)
class Access:
    """Who asks: a bearer token, or a name and a password; and the workspace, where the server has several."""

    token: str = ""
    user: str = ""
    password: str = ""
    workspace: str = ""

    def headers(self) -> dict[str, str]:
        """The headers of each request."""
        said: dict[str, str] = {"X-MLFLOW-WORKSPACE": self.workspace} if self.workspace else {}
        if self.token:
            said["Authorization"] = f"Bearer {self.token}"
        elif self.user:
            said["Authorization"] = f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"
        return said


class Server:
    """One server. Several threads may ask at once. `seconds` is how long a silence may last."""

    def __init__(self, address: str, access: Access, *, seconds: float, threads: int) -> None:
        self.address = checked(address)
        self.name = f"{self.address}{f' ({access.workspace})' if access.workspace else ''}"
        self._headers = access.headers()
        self._pool = urllib3.PoolManager(
            maxsize=threads,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
        )

    def get(self, path: str, /, **query: Any) -> dict[str, Any]:
        """The answer to a GET. Raises as `_ask` does."""
        return _json(self._ask("GET", _with(f"{API}/{path}", query)))

    def post(self, path: str, /, **body: Any) -> dict[str, Any]:
        """The answer to a POST that only reads, such as a search. Raises as `_ask` does."""
        said = {name: value for name, value in body.items() if value is not None}
        return _json(self._ask("POST", f"{API}/{path}", json.dumps(said).encode()))

    def file(self, path: str, /, **query: Any) -> "Coming":
        """A file as it comes. Raises as `_ask` does."""
        return Coming(self._ask("GET", _with(path, query), whole=False))

    def _ask(self, method: str, path: str, body: bytes | None = None, *, whole: bool = True) -> Any:
        """Raises Missing for a 404, Refused for what is no use to ask again, and NotAnswered in the end."""
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(min(FIRST_WAIT * 2**attempt, LONGEST_WAIT))
            try:
                answer = self._pool.request(
                    method,
                    f"{self.address}{path}",
                    body=body,
                    headers={**self._headers, **({"Content-Type": "application/json"} if body is not None else {})},
                    redirect=False,
                    preload_content=whole,
                )
            except urllib3.exceptions.HTTPError as error:
                problem = f"{type(error).__name__}"
                continue
            if answer.status == 200:
                return answer
            said = answer.data[:300].decode("utf-8", "replace")
            answer.release_conn()
            if answer.status == 404:
                raise Missing(f"{path.partition('?')[0]}: {said}")
            if answer.status not in _AGAIN:
                raise Refused(f"{self.address} answers {answer.status} to {path.partition('?')[0]}: {said}")
            problem = f"status {answer.status}: {said[:100]}"
        raise NotAnswered(
            f"{self.address} does not answer {path.partition('?')[0]}, asked {TRIES} times ({problem}).",
            hint="Run the same command again: it goes on where it was.",
        )


class Coming:
    """A file that is being read. What breaks off raises, and is never taken for the whole."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end. Raises NotAnswered where the server breaks off."""
        try:
            return bytes(self._answer.read(size))
        except urllib3.exceptions.HTTPError as error:
            raise NotAnswered(f"The server broke off in the middle of a file ({type(error).__name__}).") from error

    def close(self) -> None:
        """Give the connection back, or up."""
        self._answer.release_conn() if self._answer.closed else self._answer.close()


def checked(address: str) -> str:
    """The server's address as requests begin. Raises Invalid."""
    parts = urlsplit(address.strip())
    if parts.username or parts.password:
        raise Invalid(
            "The address has a password in it, which every list of processes shows.",
            hint="Put the token into FLOTILLA_IMPORT_TOKEN, or into a file named by --token-file.",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise Invalid("This is no address of an MLflow server.", hint="Write https://mlflow.example.com:5000.")
    return address.strip().rstrip("/")


def _with(path: str, query: Mapping[str, Any]) -> str:
    said = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(said, quote_via=quote)}" if said else path


def _json(answer: Any) -> dict[str, Any]:
    try:
        said = json.loads(answer.data)
    except ValueError as error:
        raise NotAnswered("The server answers what is no JSON.", hint="Is it an MLflow server?") from error
    if not isinstance(said, dict):
        raise NotAnswered("The server answers JSON that is no object.", hint="Is it an MLflow server?")
    return said


def pages(ask: Any, name: str, **arguments: Any) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, as `ask` (`Server.get` or `post`, with its path) gives them under `name`."""
    token: str | None = None
    while True:
        said = ask(page_token=token, **arguments)
        found = said.get(name) or []
        if found:
            yield found
        token = said.get("next_page_token") or said.get("page_token")
        if not token:
            return
