"""Map files: rules that turn the tensors of somebody's checkpoint into ours, every tensor accounted for.

    {"format": "radnet-map/1",
     "root": ["state_dict"],
     "rules": [{"match": "enc\\.b(\\d+)\\.l(\\d+)\\.w1", "name": "features.denseblock{1+1}.denselayer{2+1}.conv1.weight", "transpose": [3, 2, 0, 1]}],
     "ignore": ["step", ".*\\.momentum"],
     "constants": [{"match": "rnn\\.bias_hh_.*", "value": 0}]}

A rule applies to every tensor whose whole name matches; a tensor may serve several rules. `{2+1}` is the match's second group, a number,
plus 1. What a rule does to the values, in this order: `select` {"dim", "index"} (a number drops the dimension, a list keeps and orders
it), `transpose` (axes), `reshape`, `chunks` {"dim", "order"} (equal parts in another order: gates of a recurrence), `scale`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from radnet_reference import weights
from radnet_reference.model import RadNet

FORMAT = "radnet-map/1"
_RULE_KEYS = {"match", "name", "select", "transpose", "reshape", "chunks", "scale"}
_TOP_KEYS = {"format", "root", "rules", "ignore", "constants"}
_GROUP = re.compile(r"\{(\d+)([+-]\d+)?\}")


class MapError(ValueError):
    """A map file, or a checkpoint under it, that does not give a whole model; names the rule or the tensor."""


@dataclass(frozen=True)
class Rule:
    """One rule of a map file."""

    match: re.Pattern
    name: str
    spec: dict

    def target(self, found: re.Match) -> str:
        """Our name of a matched tensor."""
        def number(group: re.Match) -> str:
            text = found.group(int(group.group(1))) or ""
            if group.group(2) is None:
                return text
            if not text.isdigit():
                raise MapError(f"{found.string}: group {group.group(1)} is {text!r}, not a number to add to")
            return str(int(text) + int(group.group(2)))

        return _GROUP.sub(number, self.name)

    def values(self, source: str, tensor: Tensor) -> Tensor:
        """The tensor as our file holds it."""
        try:
            return _changed(tensor, self.spec)
        except (RuntimeError, IndexError, ValueError) as error:
            raise MapError(f"{source}, shape {list(tensor.shape)}: {str(error).splitlines()[0]}") from error


def _changed(t: Tensor, spec: dict) -> Tensor:
    if "select" in spec:
        dim, index = spec["select"]["dim"], spec["select"]["index"]
        t = t.select(dim, index) if isinstance(index, int) else t.index_select(dim, torch.tensor(index))
    if "transpose" in spec:
        t = t.permute(spec["transpose"])
    if "reshape" in spec:
        t = t.reshape(spec["reshape"])
    if "chunks" in spec:
        dim, order = spec["chunks"]["dim"], spec["chunks"]["order"]
        if sorted(order) != list(range(len(order))) or t.shape[dim] % len(order):
            raise ValueError(f"{t.shape[dim]} entries do not make chunks {order}")
        parts = t.chunk(len(order), dim)
        t = torch.cat([parts[i] for i in order], dim)
    return t * spec["scale"] if "scale" in spec else t


@dataclass(frozen=True)
class Map:
    """A map file."""

    root: list[str]
    rules: list[Rule]
    ignore: list[re.Pattern]
    constants: list[tuple[re.Pattern, float]]


def read(path: Path) -> Map:
    """Reads and checks a map file."""
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise MapError(f"{path}:{error.lineno}: {error.msg}") from error
    except MapError as error:
        raise MapError(f"{path}: {error}") from error


def parse(values: dict) -> Map:
    """A map from its JSON."""
    _known("the map", values, _TOP_KEYS)
    if values.get("format") != FORMAT:
        raise MapError(f"format is {values.get('format')!r}, not {FORMAT!r}")
    rules = []
    for i, rule in enumerate(values.get("rules", []), start=1):
        _known(f"rule {i}", rule, _RULE_KEYS)
        if "match" not in rule or "name" not in rule:
            raise MapError(f"rule {i} has no match or no name")
        pattern = _pattern(rule["match"])
        for group in _GROUP.finditer(rule["name"]):
            if int(group.group(1)) > pattern.groups:
                raise MapError(f"rule {i} names group {group.group(1)}; {rule['match']!r} has {pattern.groups}")
        rules.append(Rule(pattern, rule["name"], rule))
    constants = []
    for constant in values.get("constants", []):
        _known("a constant", constant, {"match", "value"})
        constants.append((_pattern(constant["match"]), float(constant["value"])))
    return Map(values.get("root", []), rules, [_pattern(p) for p in values.get("ignore", [])], constants)


def _known(what: str, values: dict, keys: set[str]) -> None:
    unknown = sorted(set(values) - keys)
    if unknown:
        raise MapError(f"{what} has an unknown key {unknown[0]}; known are {', '.join(sorted(keys))}")


def _pattern(text: str) -> re.Pattern:
    try:
        return re.compile(text)
    except re.error as error:
        raise MapError(f"{text!r} is no regular expression: {error}") from error


def apply(mapping: Map, checkpoint: dict, model: RadNet) -> list[tuple[str, str]]:
    """Fills the model; gives (our name, where it came from) of every tensor. Nothing may be left over on either side."""
    state = checkpoint
    for key in mapping.root:
        if not isinstance(state, dict) or key not in state:
            raise MapError(f"the checkpoint has no {key!r}; there are {', '.join(map(str, list(state)[:8]))}")
        state = state[key]
    own = weights.tensors(model)
    filled: dict[str, tuple[str, Tensor]] = {}
    for source, tensor in state.items():
        if source.endswith("num_batches_tracked") or any(p.fullmatch(source) for p in mapping.ignore):
            continue
        _take(mapping, source, tensor, own, filled)
    for name, tensor in own.items():
        value = next((v for pattern, v in mapping.constants if pattern.fullmatch(name)), None)
        if name not in filled and value is not None:
            filled[name] = f"constant {value:g}", torch.full_like(tensor, value)
    missing = sorted(set(own) - set(filled))
    if missing:
        raise MapError(f"no tensor gives {missing[0]}{f' and {len(missing) - 1} others ({missing[1]} ...)' if len(missing) > 1 else ''}")
    weights.assign(model, {name: tensor for name, (_, tensor) in filled.items()})
    return [(name, filled[name][0]) for name in own]


def _take(mapping: Map, source: str, tensor: object, own: dict[str, Tensor], filled: dict[str, tuple[str, Tensor]]) -> None:
    matched = [(rule, found) for rule in mapping.rules if (found := rule.match.fullmatch(source))]
    if not matched:
        raise MapError(f"no rule takes {source}, and it is not ignored")
    if not isinstance(tensor, Tensor):
        raise MapError(f"{source} is {type(tensor).__name__}, not a tensor")
    for rule, found in matched:
        name = rule.target(found)
        if name not in own:
            raise MapError(f"{source} becomes {name}, which the config does not have")
        if name in filled:
            raise MapError(f"{source} and {filled[name][0]} both become {name}")
        values = rule.values(source, tensor).to(torch.float32)
        if values.shape != own[name].shape:
            raise MapError(f"{source} becomes {name} of shape {list(values.shape)}; the config says {list(own[name].shape)}")
        filled[name] = source, values.contiguous()
