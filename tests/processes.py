"""What a process and all its descendants use: CPU seconds and peak memory, from Linux's /proc."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Use:
    """One process as it was last seen."""

    command: str
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0


def family(root: int) -> list[int]:
    """The process and its living descendants, parents first (children may be in sessions of their own)."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry))
    found = [root] if _stat(root) else []
    for pid in found:
        found.extend(parents.get(pid, ()))
    return found


def runs(pid: int) -> bool:
    """Whether there is such a process; one that ended and waits for its parent runs no more."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def look(pid: int) -> Use | None:
    """CPU seconds so far and peak resident memory of one process; None when it is gone."""
    fields = _stat(pid)
    if not fields:
        return None
    peak = 0.0
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1]) / 1024
    except OSError:
        return None
    return Use(command, (int(fields[11]) + int(fields[12])) / TICKS, peak)


def resident_mib(pid: int) -> float:
    """What a process holds now; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)
    except OSError:
        return 0.0


def reset_peak(pid: int) -> None:
    """Let the peak start again from what the process holds now."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:  # The process is gone, or not ours: its old peak then stays, which errs on the honest side.
        return


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on (the command before it may hold anything)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass
class Meter:
    """Samples a family every `pause` seconds while open: `with Meter(pid) as meter: …`, then `meter.uses`.

    Processes that come and go in between are counted as far as they were seen. CPU seconds are those spent while the
    meter was open; peaks are those of the processes while it was open.
    """

    root: int
    pause: float = 0.05
    uses: dict[int, Use] = field(default_factory=dict)
    _before: dict[int, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Meter:
        for pid in family(self.root):
            reset_peak(pid)
            use = look(pid)
            if use:
                self._before[pid] = use.cpu_seconds
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._stop.wait(self.pause):
            self._sample()

    def _sample(self) -> None:
        for pid in family(self.root):
            use = look(pid)
            if use:
                use.cpu_seconds -= self._before.get(pid, 0.0)
                self.uses[pid] = use

    @property
    def cpu_seconds(self) -> float:
        return sum(use.cpu_seconds for use in self.uses.values())

    @property
    def peak_mib(self) -> float:
        """Of the largest process."""
        return max((use.peak_mib for use in self.uses.values()), default=0.0)

    @property
    def peak_sum_mib(self) -> float:
        """Of all processes, as if all had peaked at once."""
        return sum(use.peak_mib for use in self.uses.values())
