"""The address that people and pods use for Flotilla: which addresses make sense, and who can reach them. Pure."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit


def problem_of(url: str) -> str:
    """Why `url` can't be Flotilla's public address, as a sentence without a subject; "" when it can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address: its host or its port can't be read"
    if any(sign.isspace() or not sign.isprintable() for sign in url):
        return "has a space or a control character in it"
    if parts.scheme not in ("http", "https"):
        return "begins neither with http:// nor with https://"
    if not parts.hostname:
        return "names no host"
    if "@" in parts.netloc:
        return "has a user name in it, which everybody would see"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return "has a path: Flotilla answers at the root of a host alone"
    if port == 0:
        return "has port 0, which nobody can reach"
    return _problem_of_host(parts.hostname)


def shown(url: str) -> str:
    """The address for a message: without a password that somebody wrote into it."""
    return re.sub(r"//[^/]*@", "//…@", url)


def is_loopback(url: str) -> bool:
    """Whether only the machine itself is meant by the host of a URL."""
    host = _split(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified


def host_of(url: str) -> str:
    """The host of a URL as ALLOWED_HOSTS wants it: lower case, an IPv6 address in brackets."""
    host = _split(url).hostname or ""
    return f"[{host}]" if ":" in host else host


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # a bracket that is not closed: no host, whoever asks
        return urlsplit("")


def _problem_of_host(host: str) -> str:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        labels = host.rstrip(".").split(".")
        if all(label and len(label) <= 63 and _is_label(label) for label in labels) and not labels[-1].isdecimal():
            return ""
        return "has a host that is neither a name nor an address"
    if ip.is_unspecified:
        return "names the address for listening everywhere, which nobody can reach"
    return "names a multicast address" if ip.is_multicast else ""


def _is_label(label: str) -> bool:
    return label.strip("-") == label and all(sign.isalnum() or sign in "-_" for sign in label)
