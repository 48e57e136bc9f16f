"""Run a command under a hosts file and a host name of its own: `python inside.py HOSTS NAME COMMAND…`.

A program that becomes the command, so that its pid is the container's. It needs Linux, and root or user namespaces;
where the machine has neither, the command runs as it would without.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

_NEW_MOUNTS, _NEW_HOST_NAME, _NEW_USERS = 0x00020000, 0x04000000, 0x10000000  # <sched.h>
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000  # <sys/mount.h>


def main(arguments: list[str]) -> None:
    """Become the command."""
    hosts, name, *command = arguments
    with contextlib.suppress(OSError, AttributeError):  # no namespaces here: then without
        _enter(hosts, name)
    os.execv(command[0], command)  # noqa: S606 - it is a container that is started, which no shell reads


def _enter(hosts: str, name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    _call(libc.unshare(_NEW_MOUNTS | _NEW_HOST_NAME | (_NEW_USERS if user else 0)))
    if user:
        # Who runs this machine's cluster stays who they are.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _call(libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None))
    _call(libc.mount(hosts.encode(), b"/etc/hosts", None, _BIND, None))
    _call(libc.sethostname(name.encode(), len(name.encode())))


def _call(result: int) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


if __name__ == "__main__":
    main(sys.argv[1:])
