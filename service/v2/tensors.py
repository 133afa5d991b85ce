"""Open Inference Protocol V2: tensors -> records, verdicts -> tensors.

One tensor for each column, of shape [N] or [N, 1]; or one FP32 tensor of shape [N, columns] when
all columns are numeric. Tensors come as JSON, or as bytes behind the JSON (the binary extension,
which tritonclient sends by default).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.schema import Kind, Schema
from vaewatch.scoring.time.form import IN_A_SECOND, Form
from vaewatch.service.http.problems import Malformed
from vaewatch.service.model.model import ModelName
from vaewatch.service.score.answers import Result

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
TEXT = "BYTES"
COLUMN_TYPES = {Kind.NUMERIC: "FP64", Kind.CATEGORICAL: TEXT, Kind.BOOLEAN: "BOOL"}
OUTPUT_TYPES = {
    "score": "FP64",
    "p_value": "FP64",
    "severity": "FP64",
    "is_anomaly": "BOOL",
    "reasons": TEXT,
}
SEGMENT_TYPES = {"segment": TEXT, "calibration": TEXT}  # where the artifact has a segment


HISTORY_TYPES = {"history": TEXT}  # where it has a window


def output_types(artifact: Artifact) -> dict[str, str]:
    """Return the outputs of a model by name, and their types."""
    if artifact.window is not None:
        return OUTPUT_TYPES | HISTORY_TYPES
    return OUTPUT_TYPES if artifact.schema.segment is None else OUTPUT_TYPES | SEGMENT_TYPES


class Tensor(msgspec.Struct, omit_defaults=True):
    """An input or an output."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class RequestedOutput(msgspec.Struct):
    """An output that the caller asks for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The JSON part of a request. The parameter `judge` is as that of /v1/score."""

    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[RequestedOutput] = []


class InferAnswer(msgspec.Struct, omit_defaults=True):
    """The JSON part of an answer."""

    model_name: str
    model_version: str
    outputs: list[Tensor]
    id: str = ""


_decoder = msgspec.json.Decoder(InferRequest)


def read_request(body: bytes, json_length: bytes | None) -> tuple[InferRequest, list[Any]]:
    """Read a request, and the flat values of each of its tensors. `json_length`: the header that
    gives the length of the JSON part, if bytes follow it.
    """
    if json_length is not None and not (json_length.isdigit() and len(json_length) < 12):
        raise Malformed("inference-header-content-length must be a number of bytes.")
    end = len(body) if json_length is None else int(json_length)
    if end > len(body):
        raise Malformed("inference-header-content-length must lie within the body.")
    try:
        request = _decoder.decode(body[:end])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Malformed(
            'the body must be an inference request: {"inputs": [{"name", "shape", '
            '"datatype", "data"}, ...]}.'
        ) from None
    return request, _values_of(request.inputs, memoryview(body)[end:])


def _values_of(inputs: Sequence[Tensor], raw: memoryview) -> list[Any]:
    """Read the flat values of each tensor."""
    values = []
    for tensor in inputs:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            values.append(_flat(tensor))
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(raw):
            raise Malformed(f"binary_data_size of '{tensor.name}' must lie within the body.")
        values.append(_unpacked(tensor, bytes(raw[:size])))
        raw = raw[size:]
    if len(raw):
        raise Malformed("the body must end where its last tensor does.")
    return values


def count_of(tensor: Tensor) -> int:
    """The number of values that a tensor of this shape holds.

    Raises:
        Malformed: there is no such tensor, or none that is read here.
    """
    if len(tensor.shape) > 2:  # the product of very many sizes takes minutes
        raise Malformed(
            f"the shape of '{tensor.name}' must be [N], [N, 1] or [N, columns], got "
            f"{len(tensor.shape):,} sizes."
        )
    count = 1
    for size in tensor.shape:
        if size < 0:
            raise Malformed(f"the shape of '{tensor.name}' must not be negative.")
        count *= size
    return count


def _flat(tensor: Tensor) -> list[Any]:
    values = tensor.data or []
    while values and all(isinstance(value, list) for value in values):
        values = [inner for value in values for inner in value]
    if len(values) != count_of(tensor):
        raise Malformed(f"the data of '{tensor.name}' must fill its shape.")
    return values


def _unpacked(tensor: Tensor, raw: bytes) -> list[Any]:
    if tensor.datatype == TEXT:
        values = _texts(tensor, raw)
    elif tensor.datatype in DTYPES:
        dtype = np.dtype(DTYPES[tensor.datatype]).newbyteorder("<")
        if len(raw) % dtype.itemsize:
            raise Malformed(f"the bytes of '{tensor.name}' must fill its shape.")
        values = np.frombuffer(raw, dtype).tolist()
    else:
        known = ", ".join([*DTYPES, TEXT])
        raise Malformed(f"the datatype of '{tensor.name}' must be one of {known}.")
    if len(values) != count_of(tensor):
        raise Malformed(f"the bytes of '{tensor.name}' must fill its shape.")
    return values


def _texts(tensor: Tensor, raw: bytes) -> list[str]:
    """Read texts, each of which follows its length in four little-endian bytes."""
    texts, at = [], 0
    try:
        while at < len(raw):
            end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
            if end > len(raw):
                raise ValueError
            texts.append(raw[at + 4 : end].decode())
            at = end
    except ValueError:
        raise Malformed(f"the bytes of '{tensor.name}' must be texts in UTF-8.") from None
    return texts


def records_of(schema: Schema, inputs: Sequence[Tensor], values: Sequence[list[Any]]) -> list[Any]:
    """Tensors -> one record a row; NaN means missing."""
    if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].shape[1] != 1:
        return _records_of_matrix(schema, inputs[0], values[0])
    names = [tensor.name for tensor in inputs]
    if not names or len(set(names)) < len(names):
        raise Malformed("inputs must be one tensor for each column, each named once.")
    rows = {len(column) for column in values}
    flat = all(len(t.shape) == 1 or (len(t.shape) == 2 and t.shape[1] == 1) for t in inputs)
    if len(rows) > 1 or not flat:
        raise Malformed("inputs must all have the shape [N] or [N, 1], with the same N.")
    return [
        {name: _plain(value) for name, value in zip(names, row, strict=True)}
        for row in zip(*values, strict=True)
    ]


def _records_of_matrix(schema: Schema, tensor: Tensor, values: list[Any]) -> list[Any]:
    width = len(schema.inputs)
    if schema.discrete or schema.time is not None or tensor.shape[1] != width:
        raise Malformed(
            f"one tensor for all columns must have the shape [N, {width}], and all columns must "
            "be numeric. Send one tensor for each column."
        )
    rows = [values[start : start + width] for start in range(0, len(values), width)]
    return [dict(zip(schema.inputs, map(_plain, row), strict=True)) for row in rows]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


def outputs_of(results: Sequence[Result]) -> dict[str, list[Any]]:
    """Results -> the values of each output. Of a record that was not judged, numbers are missing,
    and it is no anomaly.
    """
    return {
        "score": [result.score for result in results],
        "p_value": [result.p_value for result in results],
        "severity": [result.severity for result in results],
        "is_anomaly": [bool(result.is_anomaly) for result in results],
        "reasons": [msgspec.json.encode(result.reasons).decode() for result in results],
        "segment": [result.segment or "" for result in results],
        "calibration": [result.calibration or "" for result in results],
        "history": [result.history or "" for result in results],
    }


def write_answer(
    request: InferRequest, model: ModelName, artifact: Artifact, results: Sequence[Result]
) -> tuple[bytes, int | None]:
    """Write the body; returns it and the length of its JSON part, None if no bytes follow."""
    outputs, tail = [], []
    values, types = outputs_of(results), output_types(artifact)
    for wanted in request.outputs or [RequestedOutput(name) for name in types]:
        if wanted.name not in types:
            raise Malformed(f"outputs must be some of {', '.join(types)}.")
        tensor = Tensor(wanted.name, types[wanted.name], [len(results)])
        if wanted.parameters.get("binary_data", request.parameters.get("binary_data_output")):
            packed = _packed(tensor.datatype, values[wanted.name])
            tensor.parameters = {"binary_data_size": len(packed)}
            tail.append(packed)
        else:
            tensor.data = values[wanted.name]
        outputs.append(tensor)
    head = msgspec.json.encode(InferAnswer(model.name, model.version, outputs, request.id))
    return b"".join([head, *tail]), len(head) if tail else None


def _packed(datatype: str, values: list[Any]) -> bytes:
    if datatype == TEXT:
        texts = [value.encode() for value in values]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    array: NDArray[Any] = np.array(values, dtype=DTYPES[datatype])
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _types_of(schema: Schema) -> Iterator[tuple[str, str]]:
    """Yield the inputs and their datatypes: a time is a number where the fit data write one, an
    entity a text."""
    for column in schema.columns:
        if column.kind is not Kind.CIRCULAR:
            yield column.name, COLUMN_TYPES[column.kind]
    if schema.time is not None:
        yield schema.time.column, _type_of_time(schema.time.form)
    if schema.entity is not None:
        yield schema.entity, TEXT


def _type_of_time(form: Form) -> str:
    if form is Form.YEARS:
        return "FP64"
    return "INT64" if form in IN_A_SECOND else TEXT


def metadata_of(name: str, version: str, artifact: Artifact) -> dict[str, Any]:
    """The body of `GET /v2/models/{model}`."""
    return {
        "name": name,
        "versions": [version],
        "platform": "vaewatch_onnx",
        "inputs": [
            {"name": name, "datatype": datatype, "shape": [-1]}
            for name, datatype in _types_of(artifact.schema)
        ],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": [-1]}
            for output, datatype in output_types(artifact).items()
        ],
    }
