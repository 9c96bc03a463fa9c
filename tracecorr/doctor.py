"""What works on this host: each live engine, and each look that needs no tracing."""

from __future__ import annotations

import os

from tracecorr.errors import PermissionDenied
from tracecorr.kernel import TcpState
from tracecorr.render.abilities import Ability
from tracecorr.sources.engines import ENGINES
from tracecorr.sources.sock_diag import sockets


def examine() -> list[Ability]:
    """Return every way there is to look at this host, and what each lacks."""
    engines = [
        Ability(engine.NAME, engine.COST, tuple((each.what, each.why, each.remedy) for each in engine.missing()))
        for engine in ENGINES.values()
    ]
    return [*engines, _scan()]


def _scan() -> Ability:
    about = "One look at the kernel's tables, which traces nothing"
    if os.geteuid():
        about += "; as an ordinary user it sees the holders among your own processes alone"
    try:
        sockets((TcpState.LISTEN,))
    except PermissionDenied as error:
        lacking = (("the table of sockets", str(error), "root, or a sandbox that allows it"),)
        return Ability("scan", f"{about}.", lacking, traces=False)
    return Ability("scan", f"{about}.", (), traces=False)
