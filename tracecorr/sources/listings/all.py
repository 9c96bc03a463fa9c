"""The formats that a listing may have, as one table; exactly one of them claims a listing."""

from __future__ import annotations

from typing import Final

from tracecorr.sources.listings import (
    fuser,
    get_net_tcp,
    lsfd,
    lsof,
    netstat,
    pfiles,
    proc_net_tcp,
    sockstat,
    ss,
)
from tracecorr.sources.listings.base import Listing

LISTINGS: Final[dict[str, Listing]] = {
    netstat.NAME: netstat,
    ss.NAME: ss,
    lsof.NAME: lsof,
    lsfd.NAME: lsfd,
    pfiles.NAME: pfiles,
    proc_net_tcp.NAME: proc_net_tcp,
    fuser.NAME: fuser,
    sockstat.NAME: sockstat,
    get_net_tcp.NAME: get_net_tcp,
}
