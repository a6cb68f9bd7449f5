"""Small networks to capture, profile and run; each function makes one, without arguments."""

import random

import tensorflow as tf
from tensorflow.keras import layers


def cnn() -> tf.keras.Model:
    """Convolutions with a residual connection, batch normalisation and dropout."""
    image = layers.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    y = layers.Conv2D(8, 3, padding="same")(x)
    y = layers.BatchNormalization()(y)
    x = layers.Add()([x, y])
    x = layers.Dropout(0.25)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(image, layers.Dense(10)(x))


def branches() -> tf.keras.Model:
    """Two independent heavy branches, joined by a small op."""
    features = layers.Input((1024,))
    ends = []
    for _ in range(2):
        x = features
        for _ in range(4):
            x = layers.Dense(1024, activation="relu", use_bias=False)(x)
        ends.append(layers.Dense(8)(x))
    return tf.keras.Model(features, layers.Add()(ends))


def bert(blocks: int = 2, width: int = 64, words: int = 100) -> tf.keras.Model:
    """An encoder as in BERT: embeddings, attention, feed-forward layers."""
    tokens = layers.Input((12,), dtype="int32")
    places = tf.range(12)
    x = layers.Embedding(words, width)(tokens) + layers.Embedding(12, width)(places)
    x = layers.LayerNormalization()(x)
    for _ in range(blocks):
        y = layers.MultiHeadAttention(4, width // 4)(x, x)
        x = layers.LayerNormalization()(x + y)
        y = layers.Dense(4 * width, activation="gelu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(width)(y))
    return tf.keras.Model(tokens, layers.Dense(2)(x[:, 0]))


class Parts(layers.Layer):
    """Ops with several outputs: a split, and the largest values."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return a mix of the three parts of x, scaled by its two largest values."""
        a, b, c = tf.split(x, 3, axis=-1)
        mixed = tf.sigmoid(a) * b + c
        return mixed * tf.reduce_sum(tf.math.top_k(mixed, 2).values, -1, keepdims=True)


def several() -> tf.keras.Model:
    """A split, a top_k and batch normalisation in one model."""
    x = layers.Input((6, 12))
    y = layers.Dense(12)(x)
    y = layers.Reshape((6, 1, 12))(y)
    y = layers.BatchNormalization()(y)
    y = Parts()(layers.Reshape((6, 12))(y))
    return tf.keras.Model(x, layers.Dense(3)(y))


def resnet50() -> tf.keras.Model:
    """ResNet-50 for small pictures, with random weights."""
    return tf.keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10)


def two_inputs() -> tf.keras.Model:
    """Two inputs and two outputs."""
    a, b = layers.Input((4,)), layers.Input((4,))
    x = layers.Concatenate()([a, b])
    return tf.keras.Model([a, b], [layers.Dense(3)(x), layers.Dense(2)(x)])


def by_name() -> tf.keras.Model:
    """Inputs and outputs in dicts, not in the order of their names."""
    a, b = layers.Input((4,), name="words"), layers.Input((3,), name="age")
    x = layers.Concatenate()([a, b])
    return tf.keras.Model(
        {"words": a, "age": b}, {"score": layers.Dense(3)(x), "kind": layers.Dense(2)(x)}
    )


class Loop(tf.Module):
    """A loop whose length depends on the values, around a matrix product, and a counter."""

    def __init__(self) -> None:
        super().__init__(name="loop")
        self.weights = tf.Variable(tf.random.stateless_uniform((8, 8), (1, 2)) / 8, name="weights")
        self.calls = tf.Variable(0, trainable=False, name="calls")

    @tf.function(input_signature=[tf.TensorSpec((4, 8))])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        self.calls.assign_add(1)
        y = tf.while_loop(
            lambda y: tf.reduce_sum(y) > 1.0, lambda y: (tf.matmul(y, self.weights) * 0.5,), (x,)
        )[0]
        z = tf.cond(tf.reduce_mean(y) > 0.0, lambda: y + 1.0, lambda: y - 1.0)
        return z * tf.cast(self.calls, tf.float32)


def loop() -> Loop:
    """Control flow, and a variable that every call changes."""
    return Loop()


@tf.function
def twice(x: tf.Tensor) -> tf.Tensor:
    """A function of no variables."""
    return x + x


def table() -> tf.function:
    """A function that keeps a table, which no variable holds."""
    keys = tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([1]))
    found = tf.lookup.StaticHashTable(keys, -1)

    @tf.function
    def look(x: tf.Tensor) -> tf.Tensor:
        return found.lookup(tf.as_string(x))

    return look


class Lookup(tf.Module):
    """Looks words up; and a product of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        keys = tf.lookup.KeyValueTensorInitializer(["a"], [1])
        self.table = tf.lookup.StaticHashTable(keys, 0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def words(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.cast(self.table.lookup(text), tf.float32) * 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="ids")])
    def numbers(self, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": self.table.lookup(tf.as_string(ids))}

    @tf.function(input_signature=[tf.TensorSpec([None], name="x"), tf.TensorSpec([None], name="a")])
    def power(self, x: tf.Tensor, a: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x**2 + a}


class Restless(tf.keras.Model):
    """Draws a number in Python, which a graph draws once."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.dense(x) * random.random()


class Noisy(Restless):
    """Lets TensorFlow draw, anew in every run of its graph."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.dense(x) + tf.random.normal((3,))


class Frozen(tf.Module):
    """Computes with NumPy while it is traced, and with TensorFlow when called without a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable(tf.ones((4,)), name="scale")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        factor = tf.reduce_mean(x) if tf.executing_eagerly() else 1.0
        return x * self.scale * factor


class Stepping(tf.keras.Model):
    """Is scaled by what Python drew while it was traced, in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.dense(x) * (random.random() if training else 1.0)


class Picky(tf.Module):
    """Refuses inputs whose largest value is below 1, where it can see them."""

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        if tf.executing_eagerly() and float(tf.reduce_max(x)) < 1.0:
            raise ValueError("too small")
        return tf.tanh(x)


@tf.function
def inner(x: tf.Tensor) -> tf.Tensor:
    """Called by `outer`."""
    return tf.tanh(x)  # inner


@tf.function
def outer(x: tf.Tensor) -> tf.Tensor:
    """Ops of two functions, on lines of their own."""
    y = inner(x)
    return tf.exp(y)


def broken() -> None:
    """What raises when it is called."""
    raise RuntimeError("no such network")


def number() -> int:
    """What makes no model."""
    return 3
