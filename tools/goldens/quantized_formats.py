"""Packs known integers into the formats of quantised checkpoints, and says what floats they stand for.

Written from the formats' descriptions, not from the loader: every function returns (tensors by suffix, the matrix in float32). Arithmetic is
numpy's in float32, in the order that the format's own library has.
"""

import json

import numpy as np
import torch

NF4 = np.array([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0
], np.float32)
FP4 = np.array([0, 0.0052083333, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25], np.float32)
FP4 = np.concatenate([FP4, -FP4])


def t(array, dtype=None):
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(dtype) if dtype is not None else tensor


def round_to(values, dtype):
    """float32 values that the 16 bit type has."""
    return t(values.astype(np.float32)).to(dtype).float().numpy()


def quantize(weight, groups, bits, rng, signed):
    """Integers near the weight [out, in]: (q, zero points, scales), the last two [out, groups.max() + 1]."""
    count = groups.max() + 1
    levels = 2**bits - 1
    q = np.zeros(weight.shape, np.int64)
    zeros = np.zeros((weight.shape[0], count), np.int64)
    scales = np.zeros((weight.shape[0], count), np.float32)
    for g in range(count):
        part = weight[:, groups == g]
        span = np.maximum(part.max(1) - part.min(1), 1e-3)
        scales[:, g] = round_to(span / levels * rng.uniform(1.0, 1.1, span.shape), torch.float16)
        zeros[:, g] = np.clip(np.round(-part.min(1) / scales[:, g]), 0, levels)
        if signed:
            scales[:, g] = round_to(np.abs(part).max(1) / (2**(bits - 1) - 0.5), torch.float16)
            zeros[:, g] = 2**(bits - 1)
        q[:, groups == g] = np.clip(np.round(part / scales[:, g, None]) + zeros[:, g, None], 0, levels)
    return q, zeros, scales


def dequantize(q, zeros, scales, groups):
    return scales[:, groups].astype(np.float32) * (q - zeros[:, groups]).astype(np.float32)


def stream(values, bits):
    """Rows of integers as a dense stream of bits, lowest first, in 32 bit words."""
    rows, count = values.shape
    lanes = (values[:, :, None] >> np.arange(bits)) & 1
    lanes = lanes.reshape(rows, count * bits)
    lanes = np.pad(lanes, ((0, 0), (0, -lanes.shape[1] % 32))).reshape(rows, -1, 32)
    return (lanes.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(-1).astype(np.uint32).view(np.int32)


def gptq_words(values, bits):
    """[n, m] integers packed along n, as AutoGPTQ's packer does."""
    values = values.astype(np.uint64)
    words = np.zeros((values.shape[0] * bits // 32, values.shape[1]), np.uint64)
    if bits != 3:
        per = 32 // bits
        for i in range(values.shape[0]):
            words[i // per] |= values[i] << np.uint64(bits * (i % per))
    else:
        for block in range(values.shape[0] // 32):
            v, w = values[32 * block:32 * block + 32], words[3 * block:3 * block + 3]
            for k in range(10):
                w[0] |= v[k] << np.uint64(3 * k)
                w[1] |= v[11 + k] << np.uint64(3 * k + 1)
                w[2] |= v[22 + k] << np.uint64(3 * k + 2)
            w[0] |= v[10] << np.uint64(30)
            w[1] |= (v[10] >> np.uint64(2)) & np.uint64(1)
            w[1] |= v[21] << np.uint64(31)
            w[2] |= (v[21] >> np.uint64(1)) & np.uint64(3)
    return (words & np.uint64(0xffffffff)).astype(np.uint32).view(np.int32)


def gptq(weight, rng, bits=4, group_size=32, v2=False, sym=False, g_idx="natural"):
    out, n = weight.shape
    size = group_size if group_size > 0 else n
    groups = np.arange(n) // size
    if g_idx == "act":
        groups = rng.permutation(groups)
    q, zeros, scales = quantize(weight, groups, bits, rng, sym)
    stored = zeros if v2 else (zeros - 1) % 2**bits
    tensors = {
        "qweight": t(gptq_words(q.T, bits)),
        "qzeros": t(gptq_words(stored, bits).T),
        "scales": t(scales.T, torch.float16),
    }
    if g_idx != "absent":
        tensors["g_idx"] = t(groups.astype(np.int32))
    return tensors, dequantize(q, zeros, scales, groups)


def awq(weight, rng, group_size=32, gemv=False):
    out, n = weight.shape
    groups = np.arange(n) // group_size
    q, zeros, scales = quantize(weight, groups, 4, rng, signed=False)
    dense = dequantize(q, zeros, scales, groups)
    if gemv:
        padded = -(-zeros.shape[1] // 8) * 8
        zeros = np.pad(zeros, ((0, 0), (0, padded - zeros.shape[1])))
        scales = np.pad(scales, ((0, 0), (0, padded - scales.shape[1])))
        return {"qweight": t(stream(q, 4)), "qzeros": t(stream(zeros, 4)), "scales": t(scales, torch.float16)}, dense

    def interleaved(values):
        words = np.zeros((values.shape[0], values.shape[1] // 8), np.uint32)
        for nibble, column in enumerate([0, 2, 4, 6, 1, 3, 5, 7]):
            words |= values[:, column::8].astype(np.uint32) << np.uint32(4 * nibble)
        return words.view(np.int32)

    tensors = {"qweight": interleaved(q.T), "qzeros": interleaved(zeros.T)}
    return {**{k: t(v) for k, v in tensors.items()}, "scales": t(scales.T, torch.float16)}, dense


def packed(weight, rng, bits=4, group_size=32, asym=False, actorder=False, dtype=torch.bfloat16):
    """compressed-tensors' pack-quantized."""
    out, n = weight.shape
    groups = np.arange(n) // (group_size if group_size > 0 else n)
    if actorder:
        groups = rng.permutation(groups)
    q, zeros, scales = quantize(weight, groups, bits, rng, signed=not asym)
    scales = round_to(scales, dtype)
    tensors = {
        "weight_packed": t(stream(q, bits)),
        "weight_scale": t(scales, dtype),
        "weight_shape": torch.tensor([out, n]),
    }
    if asym:
        tensors["weight_zero_point"] = t(stream(zeros.T, bits).T)
    if actorder:
        tensors["weight_g_idx"] = t(groups.astype(np.int32))
    return tensors, dequantize(q, zeros, scales, groups)


def cells(scales, shape):
    """Scales (a number, one per row, or one per block) spread over a matrix."""
    scales = np.atleast_2d(scales)
    rows, cols = (-(-s // c) for s, c in zip(shape, scales.shape))
    if scales.shape[0] not in (1, shape[0]):
        rows = cols = 16
    return np.repeat(np.repeat(scales, rows, 0), cols, 1)[:shape[0], :shape[1]]


def scale_shape(shape, strategy, group_size):
    blocks = (-(-shape[0] // 16), -(-shape[1] // 16))
    return {"tensor": (1, 1), "channel": (shape[0], 1), "group": (shape[0], shape[1] // group_size), "block": blocks}[strategy]


def int8(weight, rng, strategy="channel", asym=False, group_size=16):
    """compressed-tensors' int-quantized."""
    shape = scale_shape(weight.shape, strategy, group_size)
    scales = round_to(rng.uniform(0.9, 1.1, shape) * np.abs(weight).max() / 120, torch.bfloat16)
    zeros = rng.integers(-7, 8, shape) if asym else np.zeros(shape, np.int64)
    spread, shift = cells(scales, weight.shape), cells(zeros, weight.shape)
    q = np.clip(np.round(weight / spread) + shift, -128, 127).astype(np.int64)
    scales = scales.reshape(1) if strategy == "tensor" else scales
    tensors = {"weight": t(q.astype(np.int8)), "weight_scale": t(scales, torch.bfloat16)}
    if asym:
        tensors["weight_zero_point"] = t(zeros.astype(np.int8).reshape(scales.shape))
    return tensors, (q - shift).astype(np.float32) * spread


def fp8(weight, rng, strategy="tensor", name="weight_scale", dtype=torch.float32, scalar=False):
    shape = scale_shape(weight.shape, strategy, 1)
    scales = round_to(rng.uniform(1.05, 1.25, shape) * np.abs(weight).max() / 448, dtype)
    spread = cells(scales, weight.shape)
    q = t((weight / spread).astype(np.float32)).to(torch.float8_e4m3fn)
    scales = scales.reshape(() if scalar else 1) if strategy == "tensor" else scales
    return {"weight": q, name: t(scales, dtype), "input_scale": torch.tensor([0.5])}, q.float().numpy() * spread


def bnb4(weight, rng, kind="nf4", nested=False, blocksize=64):
    table = NF4 if kind == "nf4" else FP4
    flat = weight.reshape(-1)
    blocks = np.arange(flat.size) // blocksize
    absmax = np.array([np.abs(flat[blocks == b]).max() for b in range(blocks.max() + 1)], np.float32)
    state = dict(quant_type=kind, blocksize=blocksize, dtype="bfloat16", shape=list(weight.shape))
    tensors = {}
    if nested:
        nested_map = np.linspace(-1, 1, 256).astype(np.float32)
        offset = np.float32(absmax.mean())
        size = 4  # the library's is 256; small ones show which block is whose
        outer = np.arange(absmax.size) // size
        nested_absmax = np.array([np.abs(absmax[outer == b] - offset).max() + 1e-3 for b in range(outer.max() + 1)], np.float32)
        codes = np.abs((absmax - offset)[:, None] / nested_absmax[outer][:, None] - nested_map).argmin(1).astype(np.uint8)
        absmax = nested_map[codes] * nested_absmax[outer] + offset
        state.update(nested_blocksize=size, nested_dtype="float32", nested_offset=float(offset))
        tensors.update({"weight.nested_absmax": t(nested_absmax), "weight.nested_quant_map": t(nested_map)})
    codes = np.abs((flat / absmax[blocks])[:, None] - table).argmin(1).astype(np.uint8)
    padded = np.pad(codes, (0, codes.size % 2))
    tensors["weight"] = t((padded[0::2] << 4 | padded[1::2]).reshape(-1, 1))
    tensors["weight.absmax"] = tensors_absmax = t(absmax)
    if nested:
        outer_codes = np.abs((absmax - offset)[:, None] / nested_absmax[outer][:, None] - nested_map).argmin(1)
        tensors["weight.absmax"] = t(outer_codes.astype(np.uint8))
        assert (nested_map[outer_codes] * nested_absmax[outer] + offset == tensors_absmax.numpy()).all()
    tensors["weight.quant_map"] = t(table.copy())
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    tensors[f"weight.quant_state.bitsandbytes__{kind}"] = t(text.copy())
    return tensors, (table[codes] * absmax[blocks]).reshape(weight.shape)


def bnb8(weight, rng):
    scb = np.abs(weight).max(1).astype(np.float32)
    q = np.round(weight * 127 / scb[:, None]).astype(np.int8)
    dense = q.astype(np.float32) * scb[:, None] * np.float32(7.874015718698502e-3)
    return {"weight": t(q), "SCB": t(scb), "weight_format": torch.tensor(0, dtype=torch.uint8)}, dense
