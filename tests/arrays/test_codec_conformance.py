"""Conformance vectors of the codec `prores`, for other implementations: two samples, and what they decode to.

Zarr reads what the vectors say, exactly; and what they say is right by another way: libav's decode of the
samples into planes, and the definitions of the standards on top.
"""

import json
from dataclasses import fields
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import zarr
from exact_colors import exact_rgb
from prores_samples import decode
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from camhd_access.arrays.zarr import ProResCodec
from camhd_access.decoding.pixels import Planes

FOLDER = Path(__file__).parents[1] / "conformance"
VECTORS = json.loads((FOLDER / "vectors.json").read_text())
DIMS = {3: ["time", "y", "x"], 4: ["time", "y", "x", "channel"]}


def read_by_zarr(vector, selection=...):
    """The sample as the one chunk of an array, whose metadata are spelled out."""
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": vector["shape"],
        "data_type": vector["data_type"],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": vector["shape"]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "prores", "configuration": vector["configuration"]}],
        "attributes": {},
        "dimension_names": DIMS[len(vector["shape"])],
    }
    values = {
        "zarr.json": json.dumps(document).encode(),
        f"c{'/0' * len(vector['shape'])}": (FOLDER / vector["sample"]).read_bytes(),
    }
    store = MemoryStore()
    for key, value in values.items():
        sync(store.set(key, default_buffer_prototype().buffer.from_bytes(value)))
    return zarr.open_array(store, mode="r")[selection]


def pixels_of(vector):
    dtype = np.dtype(vector["data_type"]).newbyteorder("<")
    return np.fromfile(FOLDER / vector["pixels"], dtype).reshape(vector["shape"])


def exact_pixels(vector):
    """Before rounding, from libav's planes; of fields the one shown first first."""
    configuration = vector["configuration"]
    planes = Planes(*decode((FOLDER / vector["sample"]).read_bytes()))
    pix_fmt = configuration["pix_fmt"]
    full_scale = 255 if vector["data_type"] == "uint8" else 65535
    if pix_fmt == "gray10le":
        frame = planes.y.astype(float)
    elif pix_fmt.startswith("gray"):
        frame = ((planes.y - 64.0) / 876).clip(0, 1) * full_scale
    else:
        matrix = configuration.get("color_matrix") or 6
        rgb = exact_rgb(planes, matrix, full_scale)
        frame = rgb[..., ::-1] if pix_fmt.startswith("bgr") else rgb
    if not configuration.get("fields"):
        return frame[None]
    first = vector["first_line"]
    return np.stack([frame[first::2], frame[1 - first :: 2]])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["pixels"])
def test_zarr_reads_exactly_the_pixels_of_the_vector(vector):
    expected = pixels_of(vector)
    assert np.array_equal(read_by_zarr(vector), expected)
    corner = (slice(None), slice(1, 3), slice(2, 4))
    assert np.array_equal(read_by_zarr(vector, corner), expected[corner])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["pixels"])
def test_the_vectors_are_right_by_another_way(vector):
    if vector["configuration"].get("reduce", 1) == 1:
        assert abs(pixels_of(vector) - exact_pixels(vector)).max() < 0.5 + 0.01
        return
    luma = exact_pixels(vector | {"configuration": {"pix_fmt": "gray10le"}})[0]
    n_rows, n_columns = vector["shape"][1:]
    blocks = luma[: 8 * n_rows, : 8 * n_columns].reshape(n_rows, 8, n_columns, 8)
    is_free = ((blocks > 4) & (blocks < 1019)).all(axis=(1, 3))  # elsewhere the decoder may have clipped
    assert is_free.any()
    assert abs(pixels_of(vector)[0] - blocks.mean(axis=(1, 3)))[is_free].max() <= 1


def test_the_schema_is_that_of_the_codec():
    """`zarr-extensions` requires a JSON schema of a codec's metadata."""
    schema = json.loads((FOLDER / "schema.json").read_text())
    configuration = schema["properties"]["configuration"]
    assert schema["properties"]["name"]["const"] == ProResCodec.name
    known = {"frame_size", "pix_fmt", "color_matrix", "fields", "reduce"}
    assert set(configuration["properties"]) == known == {each.name for each in fields(ProResCodec)}
    assert configuration["required"] == ["frame_size", "pix_fmt"]
    for vector in VECTORS:
        assert set(vector["configuration"]) <= known
        codec = ProResCodec.from_dict({"name": "prores", "configuration": vector["configuration"]})
        written = codec.to_dict()["configuration"]
        jsonschema.validate({"name": "prores", "configuration": written}, schema)
        assert codec.chunk_shape == tuple(vector["shape"])
    for pix_fmt in configuration["properties"]["pix_fmt"]["enum"]:
        ProResCodec((16, 16), pix_fmt)
    for wrong in ({}, {"frame_size": [2], "pix_fmt": "gray"}, {"frame_size": [2, 2], "pix_fmt": "yuv420p"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"name": "prores", "configuration": wrong}, schema)
