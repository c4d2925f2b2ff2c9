"""The integer form of each op against a reference that is slow and obvious."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.program import run, walk
from hwsim.core.errors import UsageError
from hwsim.numerics import Accumulator, requantize
from hwsim.numerics.softmax import softmax

from .models import Wrapped, session

RNG = torch.Generator().manual_seed(0)


def traced(module: nn.Module, x: Tensor, arithmetic: Arithmetic | None = None):
    """(compiled, every value by name) of one run."""
    compiled = session(module, x, arithmetic).compiled()
    values = compiled.start(x)
    kept = dict(values)
    for step in walk(compiled.steps, values):
        kept.update({name: values[name] for name in step.op.outputs})
    return compiled, kept


def weight_codes(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.flatten(1).abs().amax(1) / 127
    return torch.round(weight / scale.reshape(-1, *[1] * (weight.dim() - 1))).long(), scale


@pytest.mark.parametrize("rounding", ["onnx", "half_even", "gemmlowp", "floor"])
@pytest.mark.parametrize(("bits", "overflow"), [(32, "wrap"), (16, "wrap"), (16, "saturate"), (18, "wrap")])
def test_linear_in_an_accumulator(bits: int, overflow: str, rounding: str) -> None:
    """The wrapped (or clamped) sum of an int64 reference, scaled by the public rule."""
    layer = nn.Linear(300, 20)
    x = torch.randn(40, 300, generator=RNG)
    module = Wrapped(lambda x, layer: nn.functional.relu(layer(x)), layer)
    arithmetic = Arithmetic(accumulator=Accumulator(bits, overflow), rounding=rounding)  # type: ignore[arg-type]
    compiled, values = traced(module, x, arithmetic)
    step = next(step for step in compiled.steps if step.op.kind == "gemm")
    coding, target = compiled.codings[step.op.inputs[0]], compiled.codings[step.op.outputs[0]]
    w, w_scale = weight_codes(layer.weight.detach())
    unit = torch.tensor(coding.scale) * w_scale
    bias = torch.round(layer.bias.detach().double() / unit.double()).long()
    exact = values[step.op.inputs[0]].long() @ w.T + bias
    half = 1 << (bits - 1)
    held = (exact + half) % (1 << bits) - half if overflow == "wrap" else exact.clamp(-half, half - 1)
    expected = requantize(held, unit / torch.tensor(target.scale), dtype="int8", rule=rounding)  # type: ignore[arg-type]
    assert torch.equal(values[step.op.outputs[0]].long(), expected.long())
    assert step.tally.overflows == int((held != exact).sum())
    assert (step.tally.overflows > 0) == (bits == 16) or bits == 18


@pytest.mark.parametrize("padding", [0, 1, "same"])
@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (2, 1), (3, 4)])
def test_convolution(kernel: int, groups: int, padding: int | str) -> None:
    layer = nn.Conv2d(4, 8, kernel, padding=padding, groups=groups)
    x = torch.randn(3, 4, 9, 7, generator=RNG)
    compiled, values = traced(Wrapped(lambda x, layer: nn.functional.relu(layer(x)), layer), x)
    step = next(step for step in compiled.steps if step.op.kind == "conv")
    assert step.form == "integer"
    w, w_scale = weight_codes(layer.weight.detach())
    coding, target = compiled.codings[step.op.inputs[0]], compiled.codings[step.op.outputs[0]]
    unit = torch.tensor(coding.scale) * w_scale
    bias = torch.round(layer.bias.detach().double() / unit.double())
    acc = nn.functional.conv2d(values[step.op.inputs[0]].double(), w.double(), bias, padding=padding, groups=groups)
    scale = (unit / torch.tensor(target.scale)).reshape(-1, 1, 1)
    expected = requantize(acc.long(), scale, dtype="int8", rule="half_even")
    assert torch.equal(values[step.op.outputs[0]].long(), expected.long())


def test_product_of_activations_and_softmax() -> None:
    module = Wrapped(lambda x: nn.functional.relu((x @ x.transpose(-1, -2)).softmax(-1) @ x))
    x = torch.randn(2, 17, 24, generator=RNG)
    compiled, values = traced(module, x)
    scores, rows, product = (step for step in compiled.steps if step.op.kind in ("matmul", "softmax"))
    q = values[scores.op.inputs[0]].long()
    unit = torch.tensor(compiled.codings[scores.op.inputs[0]].scale) ** 2
    target = compiled.codings[scores.op.outputs[0]]
    expected = requantize(q @ q.mT, unit / target.scale, dtype="int8", rule="half_even")
    assert torch.equal(values[scores.op.outputs[0]].long(), expected.long())
    weights = softmax(values[rows.op.inputs[0]], target.scale, "ibert", 16).codes.long()
    unit = torch.tensor([2.0**-16 / compiled.codings[rows.op.outputs[0]].scale])
    assert torch.equal(
        values[rows.op.outputs[0]].long(), requantize(weights, unit, dtype="int8", rule="half_even").long()
    )
    assert product.form == "integer"


def test_sum_rounds_each_operand() -> None:
    module = Wrapped(lambda x: nn.functional.relu(x * x + x))
    x = torch.randn(30, 50, generator=RNG)
    compiled, values = traced(module, x)
    step = next(step for step in compiled.steps if step.op.fn == "add")
    target = compiled.codings[step.op.outputs[0]]
    terms = [
        requantize(values[name].long(), compiled.codings[name].scale / target.scale, dtype="int32", rule="half_even")
        for name in step.op.inputs
    ]
    assert torch.equal(values[step.op.outputs[0]], (terms[0] + terms[1]).clamp(target.low, target.high).float())


@pytest.mark.parametrize(
    "function", [nn.functional.gelu, nn.functional.silu, torch.sigmoid, nn.functional.hardswish, torch.exp]
)
def test_activations_are_tables_of_rounded_values(function) -> None:
    x = torch.randn(20, 30, generator=RNG)
    module = Wrapped(lambda x: nn.functional.relu(function(x)))
    compiled, values = traced(module, x, Arithmetic(functions="table"))
    step = compiled.steps[0]
    source, target = (compiled.codings[name] for name in (step.op.inputs[0], step.op.outputs[0]))
    real = function(values[step.op.inputs[0]].double() * source.scale)
    assert torch.equal(values[step.op.outputs[0]], target.encode(real))


def test_data_movement_keeps_codes_and_concatenation_rescales() -> None:
    module = Wrapped(
        lambda x: nn.functional.relu(
            torch.cat([x.reshape(4, 6, 10).permute(0, 2, 1).flip(1), 5 * x.reshape(4, 10, 6)], 1)
        )
    )
    x = torch.randn(4, 60, generator=RNG)
    compiled, _ = traced(module, x)
    assert {step.form for step in compiled.steps if step.op.kind in ("view", "layout") and step.op.fn != "cat"} == {
        "moved"
    }
    assert next(step for step in compiled.steps if step.op.fn == "cat").form == "integer"


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 5, 5)])
def test_batch_norm_folds_into_the_product_before_it(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=RNG)
    product = nn.Linear(8, 4) if len(shape) == 2 else nn.Conv2d(8, 4, 3, bias=False)
    norm = nn.BatchNorm1d(4) if len(shape) == 2 else nn.BatchNorm2d(4)
    nn.init.normal_(norm.running_mean), nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    module = Wrapped(lambda x, product, norm: nn.functional.relu(norm(product(x))), product, norm)
    compiled, values = traced(module, x)
    step = next(step for step in compiled.steps if step.op.fn == "batch_norm")
    assert step.form == "moved"
    coding = compiled.codings[step.op.outputs[0]]
    real = norm(product(x)).detach()
    assert float((coding.decode(values[step.op.outputs[0]]) - real).abs().max()) < 6 * coding.scale


def test_batch_norm_alone_is_a_multiplier_per_channel() -> None:
    norm = nn.BatchNorm2d(5)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    x = torch.randn(3, 5, 4, 4, generator=RNG)
    compiled, values = traced(Wrapped(lambda x, norm: nn.functional.relu(norm(nn.functional.relu(x))), norm), x)
    step = next(step for step in compiled.steps if step.op.fn == "batch_norm")
    coding = compiled.codings[step.op.outputs[0]]
    assert step.form == "integer"
    error = (coding.decode(values[step.op.outputs[0]]) - norm(nn.functional.relu(x)).detach()).abs().max()
    assert float(error) < 2 * coding.scale


def test_power_of_two_scales_are_powers_of_two() -> None:
    x = torch.randn(20, 30, generator=RNG)
    module = Wrapped(lambda x, layer: nn.functional.gelu(layer(x * 0.3)), nn.Linear(30, 10))
    compiled, _ = traced(module, x, Arithmetic(power_of_two=True))
    assert all(torch.frexp(torch.tensor(c.scale))[0] == 0.5 for c in compiled.codings.values())


@pytest.mark.parametrize("fmt", ["bf16", "fp8_e4m3", "mxfp4", "mxint8"])
def test_floating_formats_round_every_operand(fmt: str) -> None:
    from hwsim.numerics import cast

    layer = nn.Linear(64, 32)
    x = torch.randn(20, 64, generator=RNG)
    module = Wrapped(lambda x, layer: nn.functional.relu(layer(x)), layer)
    compiled, values = traced(module, x, Arithmetic(weights=fmt, activations=fmt))
    step = next(step for step in compiled.steps if step.op.kind == "gemm")
    product = nn.functional.linear(cast(x, fmt), cast(layer.weight.detach(), fmt), layer.bias.detach())
    assert torch.equal(values[step.op.outputs[0]], cast(product, fmt))


def test_threads_and_batch_splits_do_not_change_a_code() -> None:
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(48, 3, 96, activation="gelu", batch_first=True, norm_first=True, dropout=0)
    x = torch.randn(4, 197, 48, generator=RNG)
    module = Wrapped(lambda x, block: nn.functional.relu(block(x)), block.eval())
    compiled = session(module, x).compiled()
    output = compiled.graph.outputs[0]
    threads = torch.get_num_threads()
    runs = []
    for count in (1, 2):
        torch.set_num_threads(count)
        runs.append(run(compiled.steps, compiled.start(x))[output])
    torch.set_num_threads(threads)
    assert torch.equal(runs[0], runs[1])
    shuffled = run(compiled.steps, compiled.start(x[[2, 0, 3, 1]]))[output]
    assert torch.equal(shuffled, runs[0][[2, 0, 3, 1]])


def test_saturation_per_step_follows_the_folds() -> None:
    layer = nn.Linear(200, 6)
    x = torch.randn(9, 200, generator=RNG) + 1
    module = Wrapped(lambda x, layer: nn.functional.relu(layer(x)), layer)
    nn.init.uniform_(layer.weight, 0.5, 1)
    arithmetic = Arithmetic(accumulator=Accumulator(18, "saturate_each_step"))
    whole, _ = traced(module, x, arithmetic)
    folded, _ = traced(module, x, replace(arithmetic, k_tile=16))
    counts = [next(s for s in c.steps if s.op.kind == "gemm").tally.overflows for c in (whole, folded)]
    assert min(counts) > 0


def test_nan_names_its_layer() -> None:
    layer = nn.Linear(8, 8)
    with torch.no_grad():
        layer.weight[0, 0] = float("inf")
    with pytest.raises(UsageError, match=r"layer 'layers\.0' has (NaN|infinite) activations"):
        session(Wrapped(lambda x, layer: nn.functional.relu(layer(x)), layer), torch.randn(2, 8))
