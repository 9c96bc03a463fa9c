"""Dataclasses to plain JSON values and back, checked against their annotations.

A saved report may come from anywhere: what passes `decoded` has the type that its field says, so that no renderer
meets a surprise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, NoReturn, Union, get_args, get_origin, get_type_hints

from tracecorr.errors import BadReport

if TYPE_CHECKING:
    import networkx as nx


def encoded(value: Any) -> Any:
    """Return the value as JSON has it; the one name that is a Python keyword loses its underscore."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is tuple:
        return [encoded(item) for item in value]
    if is_dataclass(kind):
        # Most are plain: what is no call is fast.
        return {
            key: item if type(item := getattr(value, name)) in _AS_THEY_ARE else encoded(item)
            for name, key in _keys(kind)
        }
    return _encoded_graph(value)


_AS_THEY_ARE = frozenset([type(None), str, int, float, bool, dict])


@cache
def _keys(kind: type) -> tuple[tuple[str, str], ...]:
    return tuple((each.name, each.name.rstrip("_")) for each in fields(kind))


# Not nx.node_link_data(): there an edge's ends overwrite its own attribute `source`, and the name of the parameter
# that holds the edges changed in networkx 3.4.
def _encoded_graph(graph: nx.MultiDiGraph) -> dict[str, Any]:
    return {
        "nodes": [{"id": _encoded_name(node), **_encoded_each(about)} for node, about in graph.nodes(data=True)],
        "edges": [
            {"from": _encoded_name(u), "to": _encoded_name(v), **_encoded_each(about)}
            for u, v, about in graph.edges(data=True)
        ],
    }


def _encoded_name(name: Any) -> Any:
    return [_encoded_name(item) for item in name] if isinstance(name, tuple) else _encoded_scalar(name)


def _encoded_each(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: _encoded_scalar(value) for name, value in attributes.items()}


# An attribute may be of any type in memory: an enum, an origin.
def _encoded_scalar(value: Any) -> Any:
    return value if value is None or type(value) in (str, int, float, bool) else str(value)


def decoded(hint: Any, value: Any, where: str) -> Any:
    """Return the value as `hint` says, or raise BadReport; `where` is the path to it, for the message."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        inner = next(each for each in get_args(hint) if each is not type(None))
        return None if value is None else decoded(inner, value, where)
    if is_dataclass(hint):
        return _object(hint, value, where)
    take: Callable[[Any, Any, str], Any] = _TAKE.get((origin or hint).__name__, _scalar)
    return take(hint, value, where)


# Keys that we do not know are of a later minor addition, those without default are promised by the contract.
def _object(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        _wrong(where, "an object")
    found = {}
    for name, (hint, optional) in _shape(cls).items():
        key = name.rstrip("_")
        if key in value:
            found[name] = decoded(hint, value[key], f"{where}.{key}")
        elif not optional:
            raise BadReport(f"not a tracecorr report: {where} has no {key}")
    return cls(**found)


@cache
def _shape(cls: Any) -> dict[str, tuple[Any, bool]]:
    import networkx

    hints = get_type_hints(cls, localns={"nx": networkx})
    return {
        each.name: (hints[each.name], each.default is not MISSING or each.default_factory is not MISSING)
        for each in fields(cls)
    }


def _tuple(hint: Any, value: Any, where: str) -> tuple[Any, ...]:
    kinds = get_args(hint)
    if not isinstance(value, list):
        _wrong(where, "an array")
    if kinds[-1] is Ellipsis:
        return tuple(decoded(kinds[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if len(value) != len(kinds):
        _wrong(where, f"an array of {len(kinds)}")
    return tuple(decoded(kind, item, where) for kind, item in zip(kinds, value, strict=True))


def _counts(hint: Any, value: Any, where: str) -> dict[str, int]:
    if not isinstance(value, dict):
        _wrong(where, "an object")
    return {key: decoded(int, count, f"{where}.{key}") for key, count in value.items()}


def _float(hint: Any, value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _wrong(where, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    return number if math.isfinite(number) else _wrong(where, "a finite number")


# bool is an int in Python, not in JSON.
def _scalar(hint: Any, value: Any, where: str) -> Any:
    return value if type(value) is hint else _wrong(where, f"of type {hint.__name__}")


def _graph(hint: Any, value: Any, where: str) -> nx.MultiDiGraph:
    import networkx

    graph = networkx.MultiDiGraph()
    if value is None:
        return graph
    try:
        graph.add_nodes_from((_decoded_name(node["id"]), _attributes(node, "id")) for node in value["nodes"])
        graph.add_edges_from(
            (_decoded_name(edge["from"]), _decoded_name(edge["to"]), _attributes(edge, "from", "to"))
            for edge in value["edges"]
        )
    except (KeyError, TypeError, RecursionError, ValueError, networkx.NetworkXError) as error:
        raise BadReport(f"not a tracecorr report: {where}: {error!r}") from error
    return graph


# JSON has no tuples.
def _decoded_name(name: Any) -> Any:
    return tuple(_decoded_name(item) for item in name) if isinstance(name, list) else name


def _attributes(value: dict[str, Any], *ends: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in ends}


def _wrong(where: str, wanted: str) -> NoReturn:
    raise BadReport(f"not a tracecorr report: {where} is not {wanted}")


# By name, so that networkx need not be loaded to know it.
_TAKE: dict[str, Callable[[Any, Any, str], Any]] = {
    "tuple": _tuple,
    "dict": _counts,
    "float": _float,
    "MultiDiGraph": _graph,
}
