"""The networks by name, each ready to be written: built, with its head or its training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from models.zoo import bert, cnn, inception
from models.zoo.layers import Layers
from models.zoo.network import Network
from models.zoo.training import ADAM, MOMENTUM, Optimizer, add_training_step


@dataclass(frozen=True)
class Blueprint:
    """How a network is made.

    Parameters
    ----------
    build : callable
        Appends the forward pass to an empty `Layers` and returns the id of its result.
    source : str
        The publication.
    classifies : bool
        Whether inference ends with a softmax over the result.
    optimizer : Optimizer, optional
        Given for a training step, absent for inference.
    """

    build: Callable[[Layers], str]
    source: str
    classifies: bool = True
    optimizer: Optimizer | None = None


RESNET = "ResNet-50 v1.5 (He et al. 2016; stride in the 3x3 convolutions)"
BERT = "BERT-base uncased (Devlin et al. 2019) on 128 tokens"

BLUEPRINTS = {
    "alexnet": Blueprint(cnn.alexnet, "AlexNet in one column (Krizhevsky 2014)"),
    "vgg19": Blueprint(cnn.vgg19, "VGG-19 (Simonyan and Zisserman 2015)"),
    "squeezenet": Blueprint(cnn.squeezenet1_0, "SqueezeNet 1.0 (Iandola et al. 2016)"),
    "googlenet": Blueprint(
        inception.googlenet,
        "GoogLeNet (Szegedy et al. 2015), batch normalised, without auxiliary classifiers",
    ),
    "inception_v3": Blueprint(
        inception.inception_v3,
        "Inception-v3 (Szegedy et al. 2016) without auxiliary classifier, images of 299x299",
    ),
    "resnet50": Blueprint(cnn.resnet50, RESNET),
    "bert_base": Blueprint(bert.bert_base, BERT, classifies=False),
    "resnet50_training": Blueprint(
        cnn.resnet50, f"{RESNET}, one training step with momentum SGD", optimizer=MOMENTUM
    ),
    "bert_base_training": Blueprint(
        bert.bert_base_classifier,
        f"{BERT}, one step of fine-tuning a two-class head with Adam, without dropout",
        optimizer=ADAM,
    ),
}


@cache
def network(name: str, batch: int) -> Network:
    """Build a network of `BLUEPRINTS`; it is shared between callers, who only read it."""
    blueprint = BLUEPRINTS[name]
    net = Layers(name, batch, training=blueprint.optimizer is not None)
    result = blueprint.build(net)
    if blueprint.optimizer is not None:
        add_training_step(net, result, blueprint.optimizer)
    elif blueprint.classifies:
        net.softmax("softmax", result)
    return net
