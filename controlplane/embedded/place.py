"""Where Flotilla listens, and by which address people and pods find it."""

import http.client
import ipaddress
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from apps.core.text.publicurl import host_of, is_loopback, problem_of, shown
from controlplane.embedded.errors import RefusedError

LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what a person may ask for
ANSWER_TIMEOUT_S = 3.0
# TEST-NET-1 (RFC 5737): nobody is there, but the way there begins where the way to everybody does.
_ANYBODY = ("192.0.2.1", 9)


@dataclass(frozen=True)
class Place:
    """`host` is listened on; `local_url` is for programs on this machine, `public_url` for people and pods."""

    host: str
    port: int
    public_url: str

    @property
    def local_url(self) -> str:
        """How this machine itself reaches Flotilla, whatever name others have for it."""
        return _url(LOOPBACK if self.host in EVERYWHERE else self.host, self.port)

    @property
    def is_open(self) -> bool:
        """Whether other machines can connect."""
        return not ipaddress.ip_address(self.host).is_loopback

    def allowed_hosts(self, also: str) -> str:
        """The value of FLOTILLA_ALLOWED_HOSTS: ours, and those that the person has set (`also`)."""
        names = [LOOPBACK, "localhost", host_of(self.local_url), host_of(self.public_url)]
        return ",".join(dict.fromkeys([*names, *(name.strip() for name in also.split(",") if name.strip())]))

    def for_pods(self) -> str:
        """A sentence for the person who has just started Flotilla: which machines can reach it."""
        if not is_loopback(self.public_url):
            return f"{self.public_url} is what pods must reach"
        if self.is_open:
            return f"{self.public_url} is this machine's alone; for others set FLOTILLA_PUBLIC_URL"
        return f"{self.public_url} is this machine's alone; for a cluster elsewhere set FLOTILLA_HOST"


def place_of(host: str, port: int, public_url: str, outward: Callable[[], str]) -> Place:
    """The place that a person asked for; "" stands for what was not said.

    Without a public address it is the one that is listened on, or, where that is every address, the machine's
    `outward` one. Raises RefusedError with a sentence for what makes no sense.
    """
    listened = _listened(host or LOOPBACK)
    if public_url:
        problem = problem_of(public_url)
        if problem:
            raise RefusedError(
                f"FLOTILLA_PUBLIC_URL={shown(public_url)} {problem}. Write for instance "
                f"http://192.168.1.20:{port}, or the https:// address of the proxy that passes requests on."
            )
        return Place(listened, port, public_url.rstrip("/"))
    return Place(listened, port, _url((outward() or LOOPBACK) if listened in EVERYWHERE else listened, port))


def family_of(host: str) -> socket.AddressFamily:
    """The address family of an address to listen on."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def outward_address() -> str:
    """This machine's address on the way to others; "" when there is no such way. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANYBODY)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def answers(url: str) -> str:
    """ "" when Flotilla answers at `url`, asked from here; else what happened instead."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/healthz", timeout=ANSWER_TIMEOUT_S) as reply:
            return "" if b'"checks"' in reply.read(4096) else "something else answers there"
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def _listened(host: str) -> str:
    if host == "localhost":
        return LOOPBACK
    if host.startswith("[") and host.endswith("]"):  # as IPv6 addresses are written in URLs
        host = host[1:-1]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        ip = None
    if ip is None or ip.is_multicast or "%" in host:
        raise RefusedError(
            f"FLOTILLA_HOST={host} is no address to listen on. Use 127.0.0.1 (this machine alone), 0.0.0.0 (every "
            "address of it), or one of its addresses."
        )
    return str(ip)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
