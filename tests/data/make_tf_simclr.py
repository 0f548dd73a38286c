"""Writes the TensorFlow files here: tiny networks of SimCLR's layout, saved and computed by TensorFlow itself.

    python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0 tf_keras==2.21.0
    tf/bin/python tests/data/make_tf_simclr.py

TensorFlow is needed here only, in an environment of its own; the tests read what is committed. Layer names, their order
and the padding are those of google-research/simclr (resnet.py, model_util.py, TensorFlow 1); the widths are a 16th and
a 32nd.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tf.compat.v1.layers, whose names the checkpoints have

import numpy as np
import tensorflow as tf2
import tensorflow.compat.v1 as tf

HERE = Path(__file__).parent
SK_RATIO = 0.0625


def main() -> None:
    write_saved_model("saved_model")
    tf.disable_v2_behavior()
    rng = np.random.default_rng(0)
    write_network("simclr_v1", rng, stem=4, blocks=[2, 1, 1, 1])
    write_network("simclr_v2_sk", rng, stem=2, blocks=[1, 2, 1, 1], selective_kernel=True, projection_head=True)
    write_network("simclr_basic", rng, stem=2, blocks=[2, 1, 1, 1], basic=True, cifar_stem=True, projection_head=True)
    write_tensors("tensors", rng)


def write_network(
    name: str,
    rng: np.random.Generator,
    *,
    stem: int,
    blocks: list[int],
    selective_kernel: bool = False,
    basic: bool = False,
    cifar_stem: bool = False,
    projection_head: bool = False,
) -> None:
    """A checkpoint, and the features of pictures whose maps have even and odd sides."""
    with tf.Graph().as_default(), tf.Session() as session:
        pictures = tf.placeholder(tf.float32, [None, None, None, 3])
        with tf.variable_scope("base_model"):
            features = resnet(pictures, stem, blocks, selective_kernel, basic, cifar_stem)
        if projection_head:
            project(features)
        with tf.variable_scope("head_supervised/linear_layer"):
            tf.layers.dense(features, 10)
        trained = tf.trainable_variables()
        if projection_head:  # what an optimizer and a moving average leave in the files of version 2
            for variable in trained[:3]:
                tf.get_variable(f"{variable.op.name}/Momentum", initializer=tf.ones_like(variable.initialized_value()))
            for variable in tf.global_variables("base_model")[:6]:
                if not variable.op.name.endswith("Momentum"):
                    tf.get_variable(f"ema_model/{variable.op.name}", initializer=variable.initialized_value())
        tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        for variable in tf.global_variables():
            if variable.dtype.base_dtype == tf.float32:
                variable.load(random_values(variable.op.name, variable.shape.as_list(), rng), session)
        tf.train.get_global_step().load(7, session)
        prefix = fresh(name) / "model.ckpt-7"
        saver = tf.train.Saver(tf.global_variables(), save_relative_paths=True)
        saver.save(session, str(prefix), write_meta_graph=False)
        arrays: dict[str, Any] = {}
        for label, (height, width) in {"even": (48, 48), "odd": (45, 37)}.items():
            stored = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
            arrays[f"pictures_{label}"] = stored
            arrays[f"features_{label}"] = session.run(features, {pictures: stored.astype(np.float32) / 255})
    np.savez_compressed(prefix.parent / "features.npz", **arrays)
    write_digests(prefix)


def resnet(x: Any, stem: int, blocks: list[int], selective_kernel: bool, basic: bool, cifar_stem: bool) -> Any:
    if cifar_stem:
        x = conv_bn(x, stem, 3)
    else:
        if selective_kernel:
            x = conv_bn(x, stem // 2, 3, strides=2)
            x = conv_bn(x, stem // 2, 3)
            x = conv_bn(x, stem, 3)
        else:
            x = conv_bn(x, stem, 7, strides=2)
        x = tf.layers.max_pooling2d(x, 3, 2, padding="SAME")
    for stage, count in enumerate(blocks):
        for position in range(count):
            strides = 2 if stage > 0 and position == 0 else 1
            filters = stem * 2**stage
            out = filters if basic else 4 * filters
            shortcut = projected(x, out, strides, selective_kernel) if position == 0 else x
            if basic:
                inner = conv_bn(x, filters, 3, strides)
            elif selective_kernel:
                inner = select(conv_bn(x, filters, 1), filters, strides)
            else:
                inner = conv_bn(conv_bn(x, filters, 1), filters, 3, strides)
            x = tf.nn.relu(conv_bn(inner, out, 3 if basic else 1, relu=False) + shortcut)
    return tf.reduce_mean(x, [1, 2])


def projected(x: Any, out: int, strides: int, selective_kernel: bool) -> Any:
    if not selective_kernel:
        return conv_bn(x, out, 1, strides, relu=False)
    if strides > 1:
        x = tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]])
    x = tf.layers.average_pooling2d(x, 2, strides, padding="SAME" if strides == 1 else "VALID")
    return conv_bn(x, out, 1, relu=False)


def select(x: Any, filters: int, strides: int) -> Any:
    streams = tf.stack(tf.split(conv_bn(x, 2 * filters, 3, strides), 2, axis=3))
    pooled = tf.reduce_mean(tf.reduce_sum(streams, axis=0), [1, 2], keepdims=True)
    scores = conv(conv_bn(pooled, max(int(filters * SK_RATIO), 32), 1), 2 * filters, 1)
    weights = tf.nn.softmax(tf.stack(tf.split(scores, 2, axis=3)), axis=0)
    return tf.reduce_sum(streams * weights, axis=0)


def conv_bn(x: Any, filters: int, kernel: int, strides: int = 1, relu: bool = True) -> Any:
    x = batch_norm(conv(x, filters, kernel, strides))
    return tf.nn.relu(x) if relu else x


def conv(x: Any, filters: int, kernel: int, strides: int = 1) -> Any:
    if strides > 1:  # the same padding whatever the side
        before = (kernel - 1) // 2
        after = kernel - 1 - before
        x = tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])
    return tf.layers.conv2d(x, filters, kernel, strides, padding="SAME" if strides == 1 else "VALID", use_bias=False)


def batch_norm(x: Any, center: bool = True) -> Any:
    return tf.layers.batch_normalization(x, epsilon=1e-5, center=center, training=False)


def project(x: Any) -> None:
    with tf.variable_scope("head_contrastive"):
        for layer in range(3):
            with tf.variable_scope(f"nl_{layer}"):
                last = layer == 2
                x = batch_norm(tf.layers.dense(x, 8 if last else x.shape[-1], use_bias=False), center=not last)
                x = x if last else tf.nn.relu(x)


def random_values(name: str, shape: list[int], rng: np.random.Generator) -> Any:
    """Values with which activations keep their size, so that every layer matters to the features."""
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.3, 1.2, shape).astype(np.float32)
    scale = np.sqrt(2 / max(1, np.prod(shape[:-1]))) if len(shape) > 1 else 0.3
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def write_tensors(name: str, rng: np.random.Generator) -> None:
    """Several types, in two data files; a string, and a variable that is saved in two slices."""
    folder = fresh(name)
    values = rng.integers(0, 100, (3, 5))
    with tf.Graph().as_default(), tf.Session() as session:
        parts = [str(folder / "part-0"), str(folder / "part-1")]
        kinds = ["float32", "float64", "bfloat16", "half", "int64", "int32", "int16", "int8", "uint8", "bool"]
        tensors = {kind: tf.cast(values, kind) for kind in kinds}
        tensors |= {"scalar": tf.constant(0.5), "empty": tf.zeros([0, 4]), "words": tf.constant(["two", "words"])}
        half = len(tensors) // 2
        for part, names in zip(parts, (list(tensors)[:half], list(tensors)[half:]), strict=True):
            session.run(tf.raw_ops.SaveV2(
                prefix=part, tensor_names=names, shape_and_slices=[""] * len(names), tensors=[tensors[n] for n in names]
            ))  # fmt: skip
        sliced = str(folder / "part-2")
        session.run(tf.raw_ops.SaveV2(
            prefix=sliced, tensor_names=["sliced"] * 2, shape_and_slices=["4 5 0,2:-", "4 5 2,2:-"],
            tensors=[tf.zeros([2, 5]), tf.ones([2, 5])],
        ))  # fmt: skip
        prefix = folder / "model.ckpt-7"
        session.run(tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=[*parts, sliced], destination_prefix=str(prefix), delete_old_dirs=False
        ))  # fmt: skip
    write_digests(prefix)


def write_saved_model(name: str) -> None:
    """A network whose variables are also in a list, by which TensorFlow calls them, since that way is shorter."""
    module, network, layer = tf2.Module(), tf2.Module(), tf2.Module()
    layer.kernel, layer.bias = tf2.Variable([[1.0, 2.0]]), tf2.Variable([3.0])
    network.layers = [layer]
    module.network, module.everything = network, [layer.kernel, layer.bias]
    module.lonely = [tf2.Variable([4.0])]
    folder = fresh(name)
    tf2.saved_model.save(module, str(folder))
    (folder / "fingerprint.pb").unlink()
    (folder / "assets").rmdir()


def write_digests(prefix: Path) -> None:
    """What TensorFlow's own reader gives: type, shape, and sha256 of the bytes, of each tensor of numbers."""
    reader = tf.train.load_checkpoint(str(prefix))
    digests = {}
    for name, dtype in sorted(reader.get_variable_to_dtype_map().items()):
        if dtype != tf.string and name != "sliced":
            value = reader.get_tensor(name)
            digests[name] = [dtype.name, list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
    (prefix.parent / "digests.json").write_text(json.dumps(digests, indent=0) + "\n", encoding="utf-8")


def fresh(name: str) -> Path:
    folder = HERE / f"tf_{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
