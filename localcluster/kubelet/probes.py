"""Probes: what a result means (`Counter`, pure) and how one is made (`perform`, plain asyncio sockets).

As the kubelet (pkg/kubelet/prober/worker.go): a probe changes its mind after `successThreshold` or `failureThreshold`
equal results in a row; liveness starts as success, readiness as failure, startup as unknown.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kubevalues.numbers import whole
from localcluster import KUBERNETES_MINOR

Object = Mapping[str, Any]
Exec = Callable[[list[str], float], Awaitable[tuple[int | None, str]]]

# "While a container is not Ready, the ReadinessProbe may be executed at times other than the configured periodSeconds
# interval. This is to make the Pod ready faster." — https://kubernetes.io/docs/concepts/workloads/pods/probes/
EAGER_SECONDS = 0.25
EAGER_FOR_SECONDS = 60.0
_BODY_BYTES = 10 * 1024


@dataclass(frozen=True)
class Result:
    """The outcome of one probe. `message` is what the Unhealthy event says."""

    ok: bool
    message: str = ""


@dataclass(frozen=True)
class Counter:
    """The number of equal results in a row, and the present verdict (None: none yet)."""

    success_threshold: int = 1
    failure_threshold: int = 3
    state: bool | None = None
    last: bool | None = None
    run: int = 0

    def add(self, ok: bool) -> Counter:
        """The counter after one more result."""
        run = self.run + 1 if self.last is ok else 1
        needed = self.success_threshold if ok else self.failure_threshold
        state = ok if run >= needed else self.state
        return replace(self, last=ok, run=run, state=state)


@dataclass(frozen=True)
class Timing:
    """The numbers of a probe's spec, with the API's defaults."""

    initial_delay: float
    period: float
    timeout: float
    success: int
    failure: int

    @classmethod
    def of(cls, spec: Object) -> Timing:
        """The timing that a probe's spec asks for, in seconds."""
        return cls(
            initial_delay=float(spec.get("initialDelaySeconds") or 0),
            period=float(spec.get("periodSeconds") or 10),
            timeout=float(spec.get("timeoutSeconds") or 1),
            success=int(spec.get("successThreshold") or 1),
            failure=int(spec.get("failureThreshold") or 3),
        )


def wait_after(kind: str, counter: Counter, until_due: float, age: float) -> float:
    """Seconds until the next probe, which is due in `until_due`, of a container that runs for `age`.

    A readiness or startup probe that does not succeed yet hurries for the first minute.
    """
    if kind != "liveness" and counter.state is not True and age < EAGER_FOR_SECONDS:
        return min(EAGER_SECONDS, max(until_due, 0.0))
    return max(until_due, 0.0)


def port_of(container: Object, port: int | str) -> int:
    """A port by number or by name. Raises ValueError for a name that the container does not have."""
    if isinstance(port, int):
        return port
    if (number := whole(port)) is not None:
        return number
    for entry in container.get("ports") or []:
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise ValueError(f"couldn't find port: {port!r} in container {container['name']}")


async def perform(spec: Object, container: Object, address: str, run: Exec) -> Result:
    """One probe of a container at its pod's address; `run` executes a command inside of it."""
    timeout = Timing.of(spec).timeout
    try:
        if spec.get("httpGet"):
            return await _http(spec["httpGet"], container, address, timeout)
        if spec.get("tcpSocket"):
            tcp = spec["tcpSocket"]
            return await _tcp(tcp.get("host") or address, port_of(container, tcp["port"]), timeout)
        if spec.get("exec"):
            return await _exec(spec["exec"].get("command") or [], timeout, run)
    except ValueError as error:
        return Result(False, str(error))
    return Result(False, "this kind of probe is not supported by the local cluster; use httpGet, tcpSocket or exec")


async def _http(spec: Object, container: Object, address: str, seconds: float) -> Result:
    host, port = spec.get("host") or address, port_of(container, spec["port"])
    scheme = (spec.get("scheme") or "HTTP").lower()
    path = spec.get("path") or "/"
    url = f"{scheme}://{host}:{port}{path}"
    try:
        async with asyncio.timeout(seconds):
            status, body = await _get(host, port, path, scheme == "https", spec.get("httpHeaders") or [])
    except TimeoutError:
        return Result(False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)')
    except (OSError, ssl.SSLError) as error:
        return Result(False, f'Get "{url}": dial tcp {host}:{port}: connect: {_reason(error)}')
    except (EOFError, ValueError) as error:
        return Result(False, f'Get "{url}": {str(error) or "EOF"}')
    if 200 <= status < 400:
        return Result(True, body)
    return Result(False, f"HTTP probe failed with statuscode: {status}")


def _reason(error: OSError) -> str:
    return "connection refused" if isinstance(error, ConnectionRefusedError) else str(error).lower()


async def _get(host: str, port: int, path: str, tls: bool, headers: list[Object]) -> tuple[int, str]:
    context = None
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False  # as the kubelet: a probe does not verify the pod's certificate
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        lines = {
            "Host": f"{host}:{port}",
            "User-Agent": f"kube-probe/{KUBERNETES_MINOR}",
            "Accept": "*/*",
            "Connection": "close",
        }
        lines.update({entry["name"]: entry.get("value", "") for entry in headers})
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        status_line = (await reader.readline()).decode("latin-1").split(" ", 2)
        if len(status_line) < 2 or not status_line[0].startswith("HTTP/") or not (code := whole(status_line[1])):
            raise ValueError("malformed HTTP response" if status_line[0] else "EOF")
        body = await reader.read(_BODY_BYTES)
        return code, body.decode(errors="replace")
    finally:
        writer.close()


async def _tcp(host: str, port: int, seconds: float) -> Result:
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Result(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Result(False, f"dial tcp {host}:{port}: connect: {_reason(error)}")
    writer.close()
    return Result(True)


async def _exec(command: list[str], seconds: float, run: Exec) -> Result:
    code, output = await run(command, seconds)
    if code is None:
        return Result(False, f"command timed out: {command!r} timed out after {seconds:g}s")
    return Result(code == 0, output[:_BODY_BYTES])
