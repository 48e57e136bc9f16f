"""The resources that processes have used."""

import psutil


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """Seconds of processor time that a process has used, ended threads included, in steps of a hundredth."""
    process = psutil.Process(pid)
    total = _own(process)
    for child in process.children(recursive=True) if with_children else ():
        try:
            total += _own(child)
        except psutil.NoSuchProcess:
            continue  # it ended meanwhile
    return total


def memory_bytes(pid: int) -> int:
    """Bytes that a process holds, pages that it shares with others divided among them."""
    return int(psutil.Process(pid).memory_full_info().pss)


def cpu_seconds_ever(pid: int) -> float:
    """The same with all children, those that have ended as well, such as connections of Postgres."""
    times = psutil.Process(pid).cpu_times()
    return cpu_seconds(pid, with_children=True) + float(times.children_user + times.children_system)


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
