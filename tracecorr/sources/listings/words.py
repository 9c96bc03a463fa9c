"""Words that listings have in common: states, addresses, ports."""

from __future__ import annotations

import re
import socket
from functools import cache
from ipaddress import ip_address
from typing import Final

from tracecorr.events import Endpoint
from tracecorr.kernel import TcpState

# The spellings of ss, net-tools, BSD, Solaris, AIX and Windows, and of those that translate them.
STATES: Final[dict[str, TcpState]] = {
    **{state.value: state for state in TcpState},
    "ESTAB": TcpState.ESTABLISHED,
    "SYN_RCVD": TcpState.SYN_RECV,
    "SYN_RECEIVED": TcpState.SYN_RECV,
    "FIN_WAIT_1": TcpState.FIN_WAIT1,
    "FIN_WAIT_2": TcpState.FIN_WAIT2,
    "TIMED_WAIT": TcpState.TIME_WAIT,
    "CLOSED": TcpState.CLOSE,
    "LISTENING": TcpState.LISTEN,
    # As Get-NetTCPConnection of Windows has them.
    "SYNSENT": TcpState.SYN_SENT,
    "SYNRECEIVED": TcpState.SYN_RECV,
    "FINWAIT1": TcpState.FIN_WAIT1,
    "FINWAIT2": TcpState.FIN_WAIT2,
    "TIMEWAIT": TcpState.TIME_WAIT,
    "CLOSEWAIT": TcpState.CLOSE_WAIT,
    "LASTACK": TcpState.LAST_ACK,
    # Translations of net-tools, and of distributions: German, Spanish, Portuguese, Catalan, Czech, Swedish.
    "VERBUNDEN": TcpState.ESTABLISHED,
    "ESTABLECIDO": TcpState.ESTABLISHED,
    "ESCUCHAR": TcpState.LISTEN,
    "ESTABELECIDA": TcpState.ESTABLISHED,
    "SYN_ENVIADO": TcpState.SYN_SENT,
    "SYN_RECEBIDO": TcpState.SYN_RECV,
    "ESPERA_FIN1": TcpState.FIN_WAIT1,
    "ESPERA_FIN2": TcpState.FIN_WAIT2,
    "FECHAR": TcpState.CLOSE,
    "ESPERANDO_FECHAR": TcpState.CLOSE_WAIT,
    "ÚLTIMO_ACK": TcpState.LAST_ACK,
    "OUÇA": TcpState.LISTEN,
    "FECHANDO": TcpState.CLOSING,
    "ESTABLERT": TcpState.ESTABLISHED,
    "SYNRECV": TcpState.SYN_RECV,
    "TEMPS": TcpState.TIME_WAIT,
    "TANCA": TcpState.CLOSE,
    "ESCOLTA": TcpState.LISTEN,
    "TANCAMENT": TcpState.CLOSING,
    "SPOJENO": TcpState.ESTABLISHED,
    "ZAVŘEN": TcpState.CLOSE,
    "NASLOUCHÁ": TcpState.LISTEN,
    "ZAVÍRÁ": TcpState.CLOSING,
    "ETABLERAD": TcpState.ESTABLISHED,
    "STÄNG": TcpState.CLOSE,
    "STÄNG_VÄNTA": TcpState.CLOSE_WAIT,
    "LYSSNAR": TcpState.LISTEN,
    "STÄNGER": TcpState.CLOSING,
    # Windows in German; in most other languages it leaves the states as they are.
    "ABHÖREN": TcpState.LISTEN,
    "SYN_GESENDET": TcpState.SYN_SENT,
    "SYN_EMPFANGEN": TcpState.SYN_RECV,
    "HERGESTELLT": TcpState.ESTABLISHED,
    "FIN_WARTEN_1": TcpState.FIN_WAIT1,
    "FIN_WARTEN_2": TcpState.FIN_WAIT2,
    "WARTEND": TcpState.TIME_WAIT,
    "SCHLIESSEN_WARTEN": TcpState.CLOSE_WAIT,
    "SCHLIESSEND": TcpState.CLOSING,
}
# A socket that is no connection and listens to none.
UNCONNECTED: Final = frozenset(["IDLE", "BOUND", "UNCONN", "UNBOUND"])


class Words(Endpoint):
    """An end that is not known in numbers: `address` holds all that the listing says of it, `port` is 0."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.address


_ANY: Final = frozenset(["*", "", "0.0.0.0", "::", "[::]", "*.*"])
_SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}")


def state(word: str) -> TcpState | None:
    """Return the state that a word means, None for a word of another language or none at all."""
    return STATES.get(_letters(word).strip("()").upper().replace("-", "_"))


# A shell of Windows writes "ABHÖREN" in its code page, CP850 or Windows-1252, which is no UTF-8: \x99, \xd6.
def _letters(word: str) -> str:
    return word.replace("\\x99", "Ö").replace("\\xd6", "Ö") if "\\x" in word else word


def is_unconnected(word: str) -> bool:
    return word.strip("()").upper().replace("-", "_") in UNCONNECTED


@cache
def port_number(text: str) -> int | None:
    """Return the number of a port, 0 for "*", None for a name that stands for none with certainty.

    A name is taken for the number only where this host's services(5) agrees in both directions.
    """
    if text.isascii() and text.isdigit():
        number = int(text[:6])
        return number if number < 1 << 16 else None
    if text in ("*", ""):
        return 0
    if not _SERVICE.fullmatch(text):
        return None
    try:
        number = socket.getservbyname(text, "tcp")
        return number if socket.getservbyport(number, "tcp") == text else None
    except OSError:
        return None


def is_address(text: str) -> bool:
    """Say whether it is an IP address, not a name or the beginning of something."""
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def end(address: str, port: str) -> Endpoint | None:
    """Return one end of a connection, None for "*:*".

    An end with a name that cannot be resolved with certainty keeps its words and has the port 0: nothing joins it.
    """
    address = address.removeprefix("[").removesuffix("]")
    if ":" not in address:
        address = address.partition("%")[0]  # ss names the device that a socket is bound to
    number = port_number(port)
    if number is None:
        return Words(f"{address}:{port}", 0)
    if number == 0 and address in _ANY:
        return None
    return Endpoint({"*": "0.0.0.0", "": "0.0.0.0"}.get(address, address), number)


def split(text: str, separator: str = ":") -> Endpoint | None:
    """Return the end that "192.0.2.1:80", "[::1]:80", "*:http" mean; Solaris and BSD separate the port with a dot."""
    address, found, port = text.rpartition(separator)
    return end(address, port) if found else end(text, "")


def is_whole(endpoint: Endpoint | None) -> bool:
    """Say whether both the address and the port of an end are known, so that it may be compared with others."""
    return endpoint is not None and endpoint.port > 0 and is_address(endpoint.address)
