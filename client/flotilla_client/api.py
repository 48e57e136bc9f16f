"""The REST API: one call with its deadline, its errors in words, and its repetitions where that is safe."""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import requests
from requests.auth import AuthBase

from flotilla_client.errors import Failed, TimedOut
from flotilla_client.settings import Settings

# Of one call, in seconds: to be connected, and between two parts of an answer.
TIMEOUT = (10.0, 60.0)
# What a server that is restarted, or has too much to do, answers: the same again is safe, since each POST has a key.
_LATER = {429, 502, 503, 504}
# As long as one is tried again, in seconds.
PATIENCE = 30.0
PAGE = 200
_OF_NO_PROJECT = ("projects/", "clusters/", "tokens/")


class Refused(Failed):
    """The server answered with a problem (https://www.rfc-editor.org/rfc/rfc9457)."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


class _Away(Failed):
    """Nobody answers at the address."""


class _Bearer(AuthBase):
    """A token of its own kind of login: else a ~/.netrc would replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Api:
    """A server, as one caller sees it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session = requests.Session()
        self._session.auth = _Bearer(settings.token)
        self._session.headers["User-Agent"] = "flotilla-client"
        self._has_answered = False

    def get(self, path: str, **params: Any) -> Any:
        """The object at a path below `/api/v1/`."""
        return self.call("GET", path, params=params)[1]

    def post(self, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """What the server says to a wish."""
        return self.call("POST", path, params=params, body=body or {})[1]

    def pages(self, path: str, limit: int, **params: Any) -> Iterator[dict[str, Any]]:
        """The items of a list, page after page, at most so many."""
        answer = self.get(path, **params, limit=min(limit, PAGE))
        while True:
            for item in answer["results"]:
                if limit <= 0:
                    return
                limit -= 1
                yield item
            if not answer.get("next") or limit <= 0:
                return
            # Only its parameters: the server may know itself by another name than we do.
            answer = self.get(path, **parse_qs(urlsplit(answer["next"]).query))

    def call(
        self, method: str, path: str, *, params: Mapping[str, Any], body: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        """The status and the answer. Raises Refused, Failed where there is no server, TimedOut where it is silent.

        The project goes with each call, except where it is part of none.
        """
        known = {key: value for key, value in params.items() if value not in (None, "")}
        if self._settings.project and not path.startswith(_OF_NO_PROJECT):
            known.setdefault("project", self._settings.project)
        headers = {"Idempotency-Key": uuid.uuid4().hex} if method == "POST" else {}
        until = time.monotonic() + PATIENCE
        pause = 0.5
        while True:
            is_last = time.monotonic() + pause > until
            try:
                answer = self._once(method, path, known, body, headers)
            except _Away:
                # A server that has answered before is being restarted; one that never has is not there.
                if is_last or not self._has_answered:
                    raise
                time.sleep(pause)
            else:
                self._has_answered = True
                if is_last or answer.status_code not in _LATER:
                    return self._read(answer)
                time.sleep(_asked_pause(answer) or pause)
            pause = min(pause * 2, 8.0)

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> requests.Response:
        address = urljoin(f"{self._settings.server}/api/v1/", path)
        server = self._settings.server
        try:
            return self._session.request(
                method, address, params=params, json=body, headers=headers, timeout=TIMEOUT, allow_redirects=False
            )
        except requests.Timeout as error:
            raise TimedOut(f"{server} did not answer in time.", "Look whether it is up, and try again.") from error
        except requests.exceptions.SSLError as error:
            hint = "Let REQUESTS_CA_BUNDLE name the file of the authority that it is signed by."
            raise Failed(f"The certificate of {server} is not trusted.", hint) from error
        except requests.RequestException as error:
            said = f"{server} can't be reached ({type(error).__name__})."
            raise _Away(said, "Is the address right, and the server up?") from error

    def _read(self, answer: requests.Response) -> tuple[int, Any]:
        if 300 <= answer.status_code < 400:
            to = answer.headers.get("Location", "elsewhere")
            raise Failed(f"{self._settings.server} sends us to {to}.", "Log in to the address that it is at now.")
        try:
            said = answer.json() if answer.content else {}
        except ValueError as error:
            raise Failed(
                f"{self._settings.server} answers {answer.status_code}, and not as Flotilla does.",
                "Is this the address of the dashboard, without a path?",
            ) from error
        if answer.status_code >= 400:
            raise _refusal(answer.status_code, said if isinstance(said, dict) else {})
        return answer.status_code, said


def part(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def _asked_pause(answer: requests.Response) -> float | None:
    """The seconds after which the server wants to be asked again, as far as we have patience."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), PATIENCE) if text.isdigit() else None


def _refusal(status: int, problem: Mapping[str, Any]) -> Refused:
    """The problem in words, with what to do next."""
    detail = str(problem.get("detail") or problem.get("title") or f"The server answers {status}.")
    hint, field = str(problem.get("hint") or ""), str(problem.get("field") or "")
    if field and field not in detail:
        detail = f"{field}: {detail}"
    if status == 401:
        hint = hint or "Make a token on the page Tokens, and run `flotilla login`, or set FLOTILLA_TOKEN."
    elif status >= 500:
        hint = hint or "Its log tells more. Try again later."
    elif field == "project":
        # The server speaks of its own parameter.
        hint = "Choose one by --project, or by FLOTILLA_PROJECT."
    return Refused(status, detail, hint)
