"""tracecorr: why a TCP connection stays in CLOSE_WAIT, and which process holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Report", "__version__", "parse", "scan", "timeline"]

if TYPE_CHECKING:
    from tracecorr.api import parse, timeline
    from tracecorr.scanning import scan
    from tracecorr.verdicts.report import Report


def __getattr__(name: str) -> Any:
    # `tracecorr --version` must not wait for networkx: the library is loaded when it is used.
    if name in ("parse", "timeline"):
        from tracecorr import api

        return getattr(api, name)
    if name == "scan":
        from tracecorr.scanning import scan

        return scan
    if name == "Report":
        from tracecorr.verdicts.report import Report

        return Report
    raise AttributeError(f"module 'tracecorr' has no attribute {name!r}")
