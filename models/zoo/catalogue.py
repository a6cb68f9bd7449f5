"""Which graph files there are, and which networks stand in each."""

from __future__ import annotations

from dataclasses import dataclass

from models.zoo.network import Network
from models.zoo.networks import network

ONE_GPU = "clusters/cpu-gpu.yaml"
TWO_GPUS = "clusters/cpu-2gpu.yaml"


@dataclass(frozen=True)
class Entry:
    """A model of a graph file.

    Parameters
    ----------
    name : str
        A network of `models.zoo.networks`, and the model's id.
    batch : int
        Samples per step.
    weight : float
        The model's priority.
    release : float
        When it may start, microseconds.
    """

    name: str
    batch: int
    weight: float = 1.0
    release: float = 0.0

    @property
    def network(self) -> Network:
        """The network itself."""
        return network(self.name, self.batch)


@dataclass(frozen=True)
class GraphFile:
    """A graph file.

    Parameters
    ----------
    name : str
        The graph's name; the file is called ``<name>.yaml``.
    about : str
        What the file is for, in a sentence.
    cluster : str
        The cluster's file, relative to the graph's.
    entries : tuple of Entry
        Its models.
    """

    name: str
    about: str
    cluster: str
    entries: tuple[Entry, ...]


def _single(name: str, batch: int, about: str, cluster: str = ONE_GPU) -> GraphFile:
    return GraphFile(name, about, cluster, (Entry(name, batch),))


def _pair(first: str, second: str) -> GraphFile:
    about = "Two networks of the Talos paper (ASAP 2021) at inference, side by side."
    entries = (Entry(first, 8), Entry(second, 8))
    return GraphFile(f"pair_{first}_{second}", about, TWO_GPUS, entries)


FILES = (
    _single("alexnet", 8, "A chain: inference on 8 images."),
    _single("vgg19", 8, "A chain with heavy weights: inference on 8 images."),
    _single("squeezenet", 8, "A small network of forks: inference on 8 images."),
    _single("googlenet", 8, "Modules of four parallel branches: inference on 8 images."),
    _single("inception_v3", 8, "Modules of up to six parallel branches: inference on 8 images."),
    _single("resnet50", 8, "A chain with shortcuts: inference on 8 images."),
    _single("bert_base", 8, "Twelve transformer layers: inference on 8 sequences."),
    _single("resnet50_training", 32, "One training step on 32 images.", TWO_GPUS),
    _single("bert_base_training", 16, "One fine-tuning step on 16 sequences.", TWO_GPUS),
    _pair("bert_base", "googlenet"),
    _pair("resnet50", "bert_base"),
    _pair("resnet50", "squeezenet"),
    _pair("alexnet", "squeezenet"),
    GraphFile(
        "pair_googlenet_squeezenet_b1",
        "Two networks of the Talos paper (ASAP 2021) at inference on one image each, with one GPU:"
        " the ops are so short that overheads count, and the CPU is worth using.",
        ONE_GPU,
        (Entry("googlenet", 1), Entry("squeezenet", 1)),
    ),
    GraphFile(
        "mix_serving",
        "Six networks at inference that arrive at different times and matter differently: small"
        " and urgent requests come while large ones run.",
        TWO_GPUS,
        (
            Entry("vgg19", 8),
            Entry("inception_v3", 8, weight=1.5),
            Entry("bert_base", 4, weight=2.0, release=5_000.0),
            Entry("googlenet", 4, weight=2.0, release=10_000.0),
            Entry("squeezenet", 1, weight=4.0, release=12_000.0),
            Entry("alexnet", 1, weight=4.0, release=20_000.0),
        ),
    ),
    GraphFile(
        "memory_bound_training",
        "Two training steps that share two GPUs. Under the static rule neither the pair nor the"
        " ResNet-50 alone fits the usable memory of one GPU (9.9 GiB), so the larger model has to"
        " be split; all of it fits the two GPUs together.",
        TWO_GPUS,
        (Entry("resnet50_training", 40), Entry("bert_base_training", 16)),
    ),
)
