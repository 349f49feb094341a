"""Placement: which layers of a network are normalized.

A network builder describes its layers with a `Layout`; `place` resolves the words of a user to the
names of the layers to normalize. All other layers are plain.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from wnrl._settings import SettingError, nearest
from wnrl.nn.norms.catalogue import NONE, NORMS
from wnrl.nn.norms.record import Norm

WHERE = ("torso", "head", "policy", "value", "penultimate", "all")


@dataclass(frozen=True)
class Layout:
    """The layers of a network, under the names that a user gives them.

    `hidden` are the layers followed by a nonlinearity, in order, by torso:
    {"torso": ("conv1", "fc")}, or {"policy": ("policy.hidden1",), "value": ("value.hidden1",)} if
    each head has its own torso. `outputs` are the layers after the last nonlinearity, by head:
    {"head": ("head",)} or {"policy": ("policy",), "value": ("value",)}. Several torsos may be one
    part of the network: `critic.qf0` and `critic.qf1` are both `critic`. `recurrent` are the hidden
    layers that are LSTMs, which only some normalizations support.
    """

    hidden: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    recurrent: tuple[str, ...] = ()

    def __str__(self) -> str:
        outputs = tuple(name for names in self.outputs.values() for name in names)
        parts = [*self.hidden.items(), ("head", outputs)]
        return ", ".join(f"{part} ({', '.join(layers)})" for part, layers in parts)


def canonical_where(where: str) -> str:
    """Return the canonical spelling of a placement: words first, then sorted names, no repeats."""
    words = {word.strip() for word in where.split(",")}
    layers = sorted(words.difference(WHERE))
    return ",".join([*(word for word in WHERE if word in words), *layers])


def place(where: str, norm: Norm, layout: Layout) -> frozenset[str]:
    """Return the names of the layers to normalize.

    `torso` means all hidden layers, `penultimate` the last hidden layer of each torso, `head` the
    outputs, `all` hidden layers and outputs. `policy` and `value`, or how the network's parts are
    called, mean the hidden layers of their own torsos, or their output layer if they share one. Any
    other word is a layer's name. A
    normalization without an LSTM skips recurrent layers: `torso` and `all` leave them plain, and
    `penultimate` is the last hidden layer that is not recurrent.

    Args:
        where: these words, separated by commas.
        norm: the normalization; one that normalizes activations cannot be placed on an output.
        layout: the network's layers.

    Raises:
        SettingError: a word that means nothing in this network, activations at an output, or the
            name of a recurrent layer that the normalization does not support.
    """
    skipped = () if norm.normalizes_lstms else layout.recurrent
    known = _layers_by_word(layout, skipped)
    chosen: list[str] = []
    for word in (word.strip() for word in where.split(",")):
        if word in skipped:
            if norm.has_place:
                raise _no_lstm(word, norm)
        elif word in known:
            chosen += known[word]
        else:
            raise _unknown_word(word, known, layout)
    outputs = [name for name in chosen if name in known["head"]]
    if outputs and norm.normalizes_activations:
        raise SettingError(
            "norm_where",
            f"{where} puts {norm.name} on the output layer {outputs[0]!r}: {norm.name} normalizes "
            "activations, and normalized values or logits could not reach the scale of returns; "
            "leave the heads out (torso)",
        )
    return frozenset(chosen)


def _layers_by_word(layout: Layout, skipped: Collection[str]) -> dict[str, list[str]]:
    """Return the layers that each allowed word means."""
    torsos = [[name for name in names if name not in skipped] for names in layout.hidden.values()]
    hidden = [name for names in torsos for name in names]
    outputs = [name for names in layout.outputs.values() for name in names]
    known: dict[str, list[str]] = {name: [name] for name in (*hidden, *outputs)}
    for layers in (layout.outputs, layout.hidden):
        parts: dict[str, list[str]] = {}
        for part, names in layers.items():
            parts.setdefault(part.partition(".")[0], []).extend(names)
        known |= {**{part: list(names) for part, names in layers.items()}, **parts}
    return known | {
        "torso": hidden,
        "head": outputs,
        "penultimate": [name for names in torsos for name in names[-1:]],
        "all": [*hidden, *outputs],
    }


def _no_lstm(word: str, norm: Norm) -> SettingError:
    able = ", ".join(name for name, each in NORMS.items() if each.normalizes_lstms)
    return SettingError(
        "norm_where",
        f"{word!r}: normalization {norm.name} has no LSTM, so this layer is always plain; "
        f"normalizations that have one are {able}",
    )


def _unknown_word(word: str, known: Collection[str], layout: Layout) -> SettingError:
    problem = f"has no {word} head" if word in WHERE else "has no such part or layer"
    return SettingError(
        "norm_where",
        f"{word!r}: this network {problem}; allowed are torso, head, penultimate, all, and its "
        f"layers: {layout}" + nearest(word, known),
    )


def norm_at(name: str, norm: Norm, placed: Collection[str] | None) -> Norm:
    """Return the normalization of one layer: `norm` if the layer is placed, else none.

    Args:
        name: the layer's name.
        norm: the network's normalization.
        placed: names of the layers to normalize, from `place`; None for all.
    """
    return norm if placed is None or name in placed else NONE
