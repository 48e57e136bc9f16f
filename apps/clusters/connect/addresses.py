"""The addresses that a registered API server may have: Flotilla must not become a way into its own network.

The name is resolved once and the connection goes to the address that was checked, so that a name that changes its
answer between check and use (DNS rebinding) gains nothing.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from apps.core.database import connections
from apps.core.errors import Invalid, Unavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], list[str]]

# Cloud metadata services whose addresses are not link-local, so that a wide allow-list would let them through.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254")
)
# IPv6 networks that carry an IPv4 address in their last bits: NAT64 (RFC 6052), and the compatible and translated
# forms of old (RFC 4291, RFC 2765), which a gateway may still take apart.
_IPV4_WITHIN = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96"))
# Private, though Python (3.11) calls them global: NAT64 of one's own network (RFC 8215), site-local (RFC 3879), SRv6
# (RFC 9602), documentation (RFC 9637), IETF protocol assignments and the 6to4 relay (RFC 6890, RFC 7526).
_NOT_GLOBAL = tuple(
    ipaddress.ip_network(text)
    for text in ("64:ff9b:1::/48", "fec0::/10", "5f00::/16", "3fff::/20", "192.0.0.0/24", "192.88.99.0/24")
)


def resolve(host: str, port: int) -> list[str]:
    """The addresses of `host`, without repetition. Raises Unavailable when the name has none."""
    connections.let_go()  # a name server that is away takes seconds
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"The name {host!r} can't be resolved.", hint="Check the server address.") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def refusal(address: str, allowed_networks: Sequence[str], setting: str = "FLOTILLA_CLUSTER_ALLOWED_NETWORKS") -> str:
    """Why `address` may not be used, or "" when it may; `setting` is where the networks are named. Pure."""
    ip = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    if ip in _METADATA:
        return f"{address} is a cloud's metadata service"
    if ip.is_unspecified:
        return f"{address} is no address of a server"
    if ip.is_multicast:
        return f"{address} is a multicast address"
    if ip.is_link_local:
        return f"{address} is a link-local address"
    if ip.is_global and not _within(ip, _NOT_GLOBAL):
        return ""
    if _within(ip, [ipaddress.ip_network(network) for network in allowed_networks]):
        return ""
    return f"{address} is a private address outside {setting}"


def checked_address(server: str, allowed_networks: Sequence[str], resolver: Resolver | None = None) -> str:
    """The one address to connect to for the URL `server`.

    Raises Invalid when any address of the name is refused (a name with mixed answers is not trusted), Unavailable
    when it can't be resolved.
    """
    parts = urlsplit(server)
    host, port = parts.hostname or "", parts.port or 443
    addresses = (resolver or resolve)(host, port)
    for address in addresses:
        reason = refusal(address, allowed_networks)
        if reason:
            raise Invalid(f"The server address is refused: {reason}.", field="kubeconfig")
    return addresses[0]


def _within(ip: Address, networks: Sequence[Network]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)


def _unwrapped(ip: Address) -> Address:
    """The IPv4 address inside an IPv6 one, where there is one."""
    if isinstance(ip, ipaddress.IPv6Address) and not (ip.is_loopback or ip.is_unspecified):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and _within(ip, _IPV4_WITHIN):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return inner
    return ip
