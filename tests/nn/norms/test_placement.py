"""Where a normalization stands: words and layer names, and what cannot be."""

import pytest

from wnrl._settings import SettingError, UsageError
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.placement import Layout, canonical_where, place

Q = Layout({"torso": ("conv1", "conv2", "fc")}, {"head": ("head",)})
SHARED = Layout({"torso": ("hidden1", "hidden2")}, {"policy": ("policy",), "value": ("value",)})
SEPARATE = Layout(
    {
        "policy": ("policy.hidden1", "policy.hidden2"),
        "value": ("value.hidden1", "value.hidden2"),
    },
    {"policy": ("policy",), "value": ("value",)},
)


@pytest.mark.parametrize(
    ("layout", "where", "expected"),
    [
        (Q, "torso", "conv1 conv2 fc"),
        (Q, "head", "head"),
        (Q, "penultimate", "fc"),
        (Q, "all", "conv1 conv2 fc head"),
        (Q, "conv2", "conv2"),
        (Q, "penultimate, conv1,fc", "conv1 fc"),
        (SHARED, "torso", "hidden1 hidden2"),
        (SHARED, "head", "policy value"),
        (SHARED, "policy", "policy"),
        (SHARED, "torso,value", "hidden1 hidden2 value"),
        (SEPARATE, "policy", "policy.hidden1 policy.hidden2"),
        (SEPARATE, "penultimate", "policy.hidden2 value.hidden2"),
        (SEPARATE, "value.hidden1", "value.hidden1"),
        (SEPARATE, "head", "policy value"),
    ],
)
def test_words_name_parts_and_names_name_layers(layout: Layout, where: str, expected: str) -> None:
    assert place(where, get_norm("weight"), layout) == set(expected.split())


@pytest.mark.parametrize(
    ("where", "canonical"),
    [
        ("torso", "torso"),
        ("conv1, conv2", "conv1,conv2"),
        ("conv2,conv1", "conv1,conv2"),
        (" fc ,conv3,fc,conv1", "conv1,conv3,fc"),
        ("hidden2,penultimate,head,hidden1,torso", "torso,head,penultimate,hidden1,hidden2"),
        ("torso,", "torso,"),  # an empty word stays, to be refused
        ("", ""),
    ],
)
def test_a_place_has_one_spelling(where: str, canonical: str) -> None:
    assert canonical_where(where) == canonical
    assert canonical_where(canonical) == canonical


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("policy", "'policy': this network has no policy head; .*torso .conv1, conv2, fc., head"),
        ("value", "has no value head"),
        ("conv4", "'conv4': this network has no such part or layer.*did you mean conv"),
        ("penultimte", "did you mean penultimate"),
        ("torso,", "'': this network has no such part"),
        ("Torso", "did you mean torso"),
    ],
)
def test_a_word_that_the_network_has_nothing_for_is_refused(where: str, message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        place(where, get_norm("weight"), Q)
    assert str(caught.value).startswith("norm_where ")
    assert caught.value.flag_message.startswith("--norm-where ")


@pytest.mark.parametrize("where", ["head", "all", "torso,head"])
@pytest.mark.parametrize("name", ["batch", "layer", "weight-mean", "projection", "nap"])
def test_activations_are_not_normalized_at_an_output(name: str, where: str) -> None:
    with pytest.raises(UsageError, match=f"puts {name} on the output layer 'head'.*scale"):
        place(where, get_norm(name), Q)
    bare = get_norm("projection").with_settings({"activation": "none"})
    assert "head" in place(where, bare, Q)
