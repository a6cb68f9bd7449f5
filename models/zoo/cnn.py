"""Plain convolutional networks: AlexNet, VGG-19, SqueezeNet and ResNet-50.

Each function takes an empty `Layers` and returns the id of the logits.
"""

from __future__ import annotations

from models.zoo.layers import Layers

CLASSES = 1000


def alexnet(net: Layers) -> str:
    """Build AlexNet in its one-column form.

    Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014); the widths
    are those of torchvision.
    """
    x = net.input("input", 3, 224, 224)
    x = _conv_relu(net, "1", x, 64, 11, stride=4, padding=2)
    x = net.max_pool("pool1", x, 3, 2)
    x = _conv_relu(net, "2", x, 192, 5, padding=2)
    x = net.max_pool("pool2", x, 3, 2)
    x = _conv_relu(net, "3", x, 384, 3, padding=1)
    x = _conv_relu(net, "4", x, 256, 3, padding=1)
    x = _conv_relu(net, "5", x, 256, 3, padding=1)
    x = net.max_pool("pool5", x, 3, 2)
    return _classifier(net, x, first=6)


def vgg19(net: Layers) -> str:
    """Build VGG-19 (configuration E).

    Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition"
    (2015).
    """
    x = net.input("input", 3, 224, 224)
    for block, (channels, depth) in enumerate(
        [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)], start=1
    ):
        for layer in range(1, depth + 1):
            x = _conv_relu(net, f"{block}_{layer}", x, channels, 3, padding=1)
        x = net.max_pool(f"pool{block}", x, 2, 2)
    return _classifier(net, x, first=6)


def squeezenet1_0(net: Layers) -> str:
    """Build SqueezeNet 1.0.

    Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model
    size" (2016).
    """
    x = net.input("input", 3, 224, 224)
    x = _conv_relu(net, "1", x, 96, 7, stride=2)
    return _fires(net, x, pools_before=(2, 5, 9))


def squeezenet1_1(net: Layers) -> str:
    """Build SqueezeNet 1.1, in which the same authors pool earlier (2016)."""
    x = net.input("input", 3, 224, 224)
    x = _conv_relu(net, "1", x, 64, 3, stride=2)
    return _fires(net, x, pools_before=(2, 4, 6))


def resnet50(net: Layers) -> str:
    """Build ResNet-50, with the stride in the 3x3 convolution (v1.5) as in torchvision.

    He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2016).
    """
    x = net.input("input", 3, 224, 224)
    x = net.conv("conv1", x, 64, 7, stride=2, padding=3)
    x = net.relu("relu1", net.batch_norm("bn1", x))
    x = net.max_pool("pool1", x, 3, 2, padding=1)
    for stage, (width, depth) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=2):
        for block in range(depth):
            stride = 2 if block == 0 and stage > 2 else 1
            x = _bottleneck(net, f"s{stage}b{block + 1}", x, width, stride)
    return net.linear("fc", net.global_avg_pool("gap", x), CLASSES)


def _conv_relu(
    net: Layers, name: str, x: str, channels: int, kernel: int, stride: int = 1, padding: int = 0
) -> str:
    x = net.conv(f"conv{name}", x, channels, kernel, stride, padding, bias=True)
    return net.relu(f"relu{name}", x)


def _classifier(net: Layers, x: str, first: int) -> str:
    """Append the three fully connected layers that AlexNet and VGG share."""
    for layer in (first, first + 1):
        x = net.relu(f"relu{layer}", net.linear(f"fc{layer}", x, 4096))
    return net.linear(f"fc{first + 2}", x, CLASSES)


def _fires(net: Layers, x: str, pools_before: tuple[int, ...]) -> str:
    """Append SqueezeNet's eight fire modules, numbered 2 to 9, and its classifier."""
    for module in range(2, 10):
        if module in pools_before:
            x = net.max_pool(f"pool{module - 1}", x, 3, 2, round_up=True)
        squeeze = 16 * (module // 2)  # both widths grow with every second module
        expand = 4 * squeeze
        x = _conv_relu(net, f"{module}_squeeze", x, squeeze, 1)
        narrow = _conv_relu(net, f"{module}_expand1x1", x, expand, 1)
        wide = _conv_relu(net, f"{module}_expand3x3", x, expand, 3, padding=1)
        x = net.concat(f"concat{module}", narrow, wide)
    return net.global_avg_pool("gap", _conv_relu(net, "10", x, CLASSES, 1))


def _bottleneck(net: Layers, name: str, x: str, width: int, stride: int) -> str:
    """Append a residual block; the shortcut is a projection where the shape changes."""
    y = net.conv(f"{name}.conv1", x, width, 1)
    y = net.relu(f"{name}.relu1", net.batch_norm(f"{name}.bn1", y))
    y = net.conv(f"{name}.conv2", y, width, 3, stride, padding=1)
    y = net.relu(f"{name}.relu2", net.batch_norm(f"{name}.bn2", y))
    y = net.conv(f"{name}.conv3", y, 4 * width, 1)
    y = net.batch_norm(f"{name}.bn3", y)
    if net.shape(x) != net.shape(y):
        x = net.conv(f"{name}.proj", x, 4 * width, 1, stride)
        x = net.batch_norm(f"{name}.bn_proj", x)
    return net.relu(f"{name}.relu3", net.sum(f"{name}.add", y, x))
