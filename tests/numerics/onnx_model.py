"""A one-operator ONNX model as bytes, so that tests call onnxruntime without the onnx package.

Field numbers are those of onnx.proto3 (ONNX 1.x). Only what the tests need: tensor inputs and integer attributes.
"""

from __future__ import annotations

import numpy as np
import onnxruntime

_ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6}
_OPSET = 13
_IR_VERSION = 8


def run_operator(op: str, inputs: dict[str, np.ndarray], output: str, **attributes: int | list[int]) -> np.ndarray:
    """The output of one operator; `output` is its element type."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(_model(op, inputs, output, attributes), options)
    return session.run(None, inputs)[0]


def _model(op: str, inputs: dict[str, np.ndarray], output: str, attributes: dict[str, int | list[int]]) -> bytes:
    node = b"".join(_text(1, name) for name in inputs) + _text(2, "y") + _text(4, op)
    node += b"".join(_message(5, _attribute(name, value)) for name, value in attributes.items())
    graph = _message(1, node) + _text(2, "g")
    graph += b"".join(_message(11, _value(name, str(x.dtype), x.shape)) for name, x in inputs.items())
    graph += _message(12, _value("y", output, None))
    return _number(1, _IR_VERSION) + _message(7, graph) + _message(8, _text(1, "") + _number(2, _OPSET))


def _value(name: str, dtype: str, shape: tuple[int, ...] | None) -> bytes:
    tensor = _number(1, _ELEMENT_TYPES[dtype])
    if shape is not None:
        tensor += _message(2, b"".join(_message(1, _number(1, size)) for size in shape))
    return _text(1, name) + _message(2, _message(1, tensor))


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    return _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, 7)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
