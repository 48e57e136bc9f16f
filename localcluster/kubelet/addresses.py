"""One loopback address per pod.

The address is a function of the pod's uid, so that it is the same after a restart of the cluster, and two clusters on
one machine hardly ever meet (14 million addresses). Within a cluster the next free one is taken where two uids meet.
127.16.0.0 to 127.239.255.255 is for pods; services have addresses outside of it.
"""

from __future__ import annotations

import hashlib

_FIRST, _COUNT = 16, 224
_HOSTS = 254  # x.y.z.1 to x.y.z.254, so that no address looks like a network's or a broadcast's
_TOTAL = _COUNT * 256 * _HOSTS


class Addresses:
    """The addresses of pods."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._taken: set[str] = set()

    def claim(self, uid: str, address: str = "") -> str:
        """The pod's address: the given one (from its status) where it is free, else one derived from its uid."""
        if uid in self._of:
            return self._of[uid]
        if not address or address in self._taken or not address.startswith("127."):
            number = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big") % _TOTAL
            while (address := _address(number)) in self._taken:
                number = (number + 1) % _TOTAL
        self._of[uid] = address
        self._taken.add(address)
        return address

    def release(self, uid: str) -> None:
        """The pod is gone."""
        address = self._of.pop(uid, None)
        if address is not None:
            self._taken.discard(address)


def _address(number: int) -> str:
    rest, host = divmod(number, _HOSTS)
    second, third = divmod(rest, 256)
    return f"127.{_FIRST + second}.{third}.{host + 1}"
