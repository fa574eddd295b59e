"""How slowly a run must go on this machine, so that its load changes the pace and not what is found."""

from __future__ import annotations

# How long the first processes of a mesh take to start on an idle machine, in seconds.
_IDLE_SECONDS = 0.25
# A run at full pace bears a machine on which that takes so many times as long. A slower run than the slowest shows
# nothing: some time limits of gRPC and of the services are constants.
_ROOM, _SLOWEST = 6.0, 4.0


def slowness(start_seconds: float) -> float:
    """Returns by how much everything has to take longer than at full pace, from 1 to 4.

    `start_seconds` is what starting the first processes has taken now. A run starts processes again and again, and
    all else that it does is less work.
    """
    return min(_SLOWEST, max(1.0, start_seconds / (_ROOM * _IDLE_SECONDS)))
