"""Where in a network a normalization stands: names of parts and layers, and what they resolve to.

A network builder says which layers it has (`Layout`); `place` turns a user's words into the names
of those that are normalized. Everything else is as without a normalization.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from wnrl._settings import UsageError, nearest
from wnrl.nn.norms.catalogue import NONE, NORMS
from wnrl.nn.norms.record import Norm

WHERE = ("torso", "head", "policy", "value", "penultimate", "all")


@dataclass(frozen=True)
class Layout:
    """The layers of a network by what a user calls them.

    `hidden` are the layers before a nonlinearity, in order, by torso: {"torso": ("conv1", "fc")},
    or {"policy": ("policy.hidden1",), "value": ("value.hidden1",)} where heads have torsos of
    their own. `outputs` are the layers after the last nonlinearity, by head: {"head": ("head",)} or
    {"policy": ("policy",), "value": ("value",)}. `recurrent` are those of the hidden layers that
    are LSTMs, which few normalizations have a form of.
    """

    hidden: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    recurrent: tuple[str, ...] = ()

    def __str__(self) -> str:
        outputs = tuple(name for names in self.outputs.values() for name in names)
        parts = [*self.hidden.items(), ("head", outputs)]
        return ", ".join(f"{part} ({', '.join(layers)})" for part, layers in parts)


def canonical_where(where: str) -> str:
    """The same place in one spelling: words, then names, in order, each once, without spaces."""
    words = {word.strip() for word in where.split(",")}
    named = sorted(words.difference(WHERE))
    return ",".join([*(word for word in WHERE if word in words), *named])


def place(where: str, norm: Norm, layout: Layout) -> frozenset[str]:
    """The names of the layers that are normalized.

    `torso` are all hidden layers, `penultimate` the last one of each torso, `head` the outputs,
    `all` both. `policy` and `value` are the hidden layers of a torso of their own, or the output
    layer if there is none. Any other word is a layer's name. A normalization without an LSTM of its
    own passes recurrent layers by: in `torso` and `all` they are plain, and the last hidden layer
    is the one before them.

    Args:
        where: these words, separated by commas.
        norm: what is placed; one that normalizes activations has no place at an output.
        layout: of the network.

    Raises:
        UsageError: a word that the network has nothing for, activations at an output, or a
            recurrent layer by its name for a normalization without one.
    """
    passed = () if norm.normalizes_lstms else layout.recurrent
    torsos = [[name for name in names if name not in passed] for names in layout.hidden.values()]
    hidden = [name for names in torsos for name in names]
    outputs = [name for names in layout.outputs.values() for name in names]
    known: dict[str, list[str]] = {name: [name] for name in (*hidden, *outputs)}
    for part in ("policy", "value"):
        for layers in (layout.outputs, layout.hidden):
            if part in layers:
                known[part] = list(layers[part])
    known |= {
        "torso": hidden,
        "head": outputs,
        "penultimate": [name for names in torsos for name in names[-1:]],
        "all": [*hidden, *outputs],
    }
    chosen: list[str] = []
    for word in (word.strip() for word in where.split(",")):
        if word in passed and not norm.has_place:
            continue
        if word in passed:
            able = ", ".join(name for name, each in NORMS.items() if each.normalizes_lstms)
            raise UsageError(
                f"--norm-where {word!r}: --norm {norm.name} has no LSTM of its own, so that layer "
                f"is always plain with it; those that have one are {able}"
            )
        if word not in known:
            lacking = f"has no {word} head" if word in WHERE else "knows no such part or layer"
            raise UsageError(
                f"--norm-where {word!r}: this network {lacking}; allowed are torso, head, "
                f"penultimate, all, and what it has: {layout}" + nearest(word, known)
            )
        chosen += known[word]
    refused = [name for name in chosen if name in outputs]
    if refused and norm.normalizes_activations:
        raise UsageError(
            f"--norm-where {where} puts {norm.name} on the output layer {refused[0]!r}: it "
            "normalizes activations, and values or logits that are normalized could not have the "
            "scale of returns; leave the heads out (--norm-where torso)"
        )
    return frozenset(chosen)


def norm_at(name: str, norm: Norm, placed: Collection[str] | None) -> Norm:
    """What makes the layer of that name: the normalization, or none where it is not placed.

    Args:
        name: of a layer.
        norm: the network's.
        placed: the names of the layers that it makes, from `place`; None for all.
    """
    return norm if placed is None or name in placed else NONE
