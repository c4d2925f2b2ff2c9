"""Bridges between convolutions and transformer blocks: where they are, which codes they get, what integers run."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.bridges import Wiring, bridge_tensors, fold_of
from hwsim.backends.execution.coding import Calibration, codings, integer_format, observe
from hwsim.backends.execution.program import float_steps, run, static_values
from hwsim.backends.execution.reconstruction import Choice, Reconstructed, reconstruct
from hwsim.backends.execution.run import evaluate, in_formats, prepare
from hwsim.backends.execution.session import calibrated, open_workload
from hwsim.graph.capture import capture
from hwsim.graph.ir import WorkloadGraph
from hwsim.graph.torch_env import import_timm
from hwsim.graph.values import fetch_values
from hwsim.transforms.workload import load_workload
from hwsim.zoo.hybridvit import hybridvit

from .models import Wrapped


def makers(graph: WorkloadGraph) -> list[str]:
    wiring = Wiring(graph)
    return [wiring.makers[name].name for name in bridge_tensors(wiring)]


def tokens_to_image(x: Tensor) -> Tensor:
    batch, count, width = x.shape
    return x.transpose(1, 2).reshape(batch, width, int(count**0.5), -1)


def hybrid(padding: int = 0, norm: bool = True) -> nn.Module:
    """conv, tokens, LayerNorm, linear; LayerNorm, image, 1x1 or 3x3 conv without bias, BatchNorm: both directions.

    The channels of both LayerNorms differ 100-fold in size and lie off zero, as those of trained hybrids do.
    """
    torch.manual_seed(0)
    first, back = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 8, 1 + 2 * padding, padding=padding, bias=False)
    norms, linear = [nn.LayerNorm(16), nn.LayerNorm(16)], nn.Linear(16, 16)
    batch_norm = nn.BatchNorm2d(8) if norm else nn.Identity()
    with torch.no_grad():
        for layer in norms:
            layer.weight.copy_(torch.logspace(-1, 1, 16))
            layer.bias.copy_(torch.logspace(-1, 1, 16) * 2)
        if norm:
            batch_norm.running_mean.normal_()

    def forward(x: Tensor, *layers: nn.Module) -> Tensor:
        first, one, linear, two, back, batch_norm, head = layers
        tokens = linear(one(first(x).flatten(2).transpose(1, 2))).relu()
        return head(batch_norm(back(tokens_to_image(two(tokens)))).relu().mean((2, 3)))

    return Wrapped(forward, first, norms[0], linear, norms[1], back, batch_norm, nn.Linear(8, 5)).eval()


def reconstructed(module: nn.Module, x: Tensor, arithmetic: Arithmetic) -> tuple[WorkloadGraph, Reconstructed]:
    graph = capture(module, (x,), "test")
    leaves = fetch_values(graph, module)
    graph = in_formats(graph, arithmetic)
    with torch.no_grad():
        static, steps = static_values(graph, leaves, "cpu"), float_steps(graph, "cpu")
        seen = observe(steps, [{**static, graph.inputs[0]: x}])
        formats = {n: f for n in seen if (f := integer_format(graph.tensors[n].dtype)) is not None}
        plain = codings(seen, formats, "minmax", arithmetic.power_of_two)
        return graph, reconstruct(graph, leaves, static, steps, [x], plain, arithmetic.power_of_two)


def images(batch: int = 4, size: int = 8) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_the_bridge_of_the_hybrid_in_the_zoo_is_its_last_convolution_to_its_first_attention() -> None:
    module = hybridvit(img_size=16, width=8, dim=24, depth=2).eval()
    graph = capture(module, (images(1, 16),), "hybrid")
    # The projection's BatchNorm, the sum with the position embedding, the norm before the attention.
    assert makers(graph) == ["stages.1.body.2.1", "add", "blocks.0.norm1"]


def test_mobilevit_has_a_bridge_into_and_out_of_each_transformer() -> None:
    module = import_timm().create_model("mobilevit_xxs").eval()
    x = images(1, 64)
    graph = capture(module, (x,), "mobilevit_xxs")
    wiring, leaves = Wiring(graph), fetch_values(graph, module)
    found = {wiring.makers[name].name: fold_of(wiring, leaves, name, "cpu") for name in bridge_tensors(wiring)}
    for stage, last in ((2, 1), (3, 3), (4, 2)):
        block = f"stages.{stage}.1"
        # Into the transformer: the 1x1 convolution, which a residual sum reads too, and the norm before attention.
        assert found[f"{block}.conv_1x1"] is None
        into, out = found[f"{block}.transformer.0.norm1"], found[f"{block}.norm"]
        assert into is not None
        assert into.shiftable
        # Out of it: the last norm, unfolded from patches, into a 1x1 convolution whose BatchNorm takes the shift.
        assert out is not None
        assert out.shiftable
        assert out.readers[0].mean is not None
        # The last residual sum of the transformer has no weights of its own to take a scale.
        assert found[f"{block}.transformer.{last}.add@1"] is None
    assert len(found) == 12


def test_networks_of_one_kind_have_no_bridge() -> None:
    convolutions = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    assert makers(capture(convolutions.eval(), (images(),), "conv")) == []
    linears = nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 4))
    assert makers(capture(linears, (torch.zeros(2, 8),), "mlp")) == []


@pytest.mark.parametrize("activations", ["int8", "int4", "uint8"])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_chosen_codes_never_reconstruct_worse_than_plain_ones(activations: str, power_of_two: bool) -> None:
    arithmetic = Arithmetic(activations=activations, power_of_two=power_of_two)
    _, found = reconstructed(hybrid(), images(), arithmetic)
    # The convolution and its norm; the linear layer, its ReLU and their norm.
    assert len(found.choices) == 5
    assert all(choice.error <= choice.plain_error for choice in found.choices)
    by_channel = [choice for choice in found.choices if choice.chosen.folded is not None]
    assert min(choice.error / choice.plain_error for choice in by_channel) < (0.5 if activations != "uint8" else 1)


@pytest.mark.parametrize(("padding", "norm"), [(0, True), (1, True), (0, False)])
def test_folding_keeps_the_function(padding: int, norm: bool) -> None:
    module, x = hybrid(padding, norm), images()
    graph, found = reconstructed(module, x, Arithmetic(activations="int4"))
    assert any(choice.chosen.folded is not None for choice in found.choices)
    last = found.choices[-1].chosen.folded
    if last is not None and (padding or not norm):
        assert bool((last[1] == 0).all())
    with torch.no_grad():
        static = static_values(graph, found.leaves, "cpu")
        ours = run(float_steps(graph, "cpu"), {**static, graph.inputs[0]: x})[graph.outputs[0]]
        torch.testing.assert_close(ours, module(x), rtol=1e-4, atol=1e-4)


def test_any_scale_and_zero_point_per_channel_folds_into_the_weights_around_a_bridge() -> None:
    module, x = hybrid(), images()
    graph = capture(module, (x,), "test")
    wiring, leaves = Wiring(graph), fetch_values(graph, module)
    folds = [fold for name in bridge_tensors(wiring) if (fold := fold_of(wiring, leaves, name, "cpu"))]
    assert len(folds) == 2
    for fold in folds:
        assert fold.shiftable
        ratio, shift = torch.rand(16) + 0.1, torch.randn(16)
        changed = fold.changed(leaves, ratio, shift)
        assert len(changed) == 4
        with torch.no_grad():
            values = {**static_values(graph, {**leaves, **changed}, "cpu"), graph.inputs[0]: x}
            torch.testing.assert_close(
                run(float_steps(graph, "cpu"), values)[graph.outputs[0]], module(x), rtol=1e-3, atol=1e-3
            )
    padded = capture(hybrid(1), (x,), "test")
    wiring, leaves = Wiring(padded), fetch_values(padded, hybrid(1))
    last = fold_of(wiring, leaves, bridge_tensors(wiring)[-1], "cpu")
    assert last is not None
    assert not last.shiftable


def reference(codes: Tensor, weight: Tensor, bias: Tensor, choice: Choice, out_scale: float) -> Tensor:
    """y = rne((sum W_q q + bias_q) s s_w / s_y): the linear layer on codes with scale and zero point per channel."""
    assert choice.chosen.folded is not None
    ratio, shift = choice.chosen.folded
    scaled = weight * ratio
    unit = scaled.abs().amax(1) / 127
    quantized = torch.round(scaled / unit[:, None]).double()
    product = torch.tensor(choice.chosen.coding.scale) * unit
    start = torch.round((bias + weight @ shift).double() / product.double())
    acc = torch.zeros(*codes.shape[:-1], len(bias), dtype=torch.float64)
    for k in range(codes.shape[-1]):
        acc += codes[..., k : k + 1].double() * quantized[:, k]
    factor = (product / torch.tensor(out_scale)).double()
    return torch.round((acc + start) * factor)


def test_integers_of_a_bridge_equal_a_slow_reference_with_scale_and_zero_point_per_channel() -> None:
    module, x = hybrid(), images()
    arithmetic = Arithmetic()
    graph, found = reconstructed(module, x, arithmetic)
    choice = next(c for c in found.choices if c.chosen.folded is not None)
    assert choice.chosen.folded is not None
    linear_op = next(op for op in graph.ops if choice.tensor in op.inputs)
    plain = capture(module, (x,), "test")
    compiled = prepare(plain, fetch_values(plain, module), arithmetic, [x], Calibration(bridges=True)).compiled()
    values = compiled.start(x)
    held = {}
    for step in compiled.steps:
        step(values)
        held.update({name: values[name] for name in step.op.outputs})
    codes, linear = held[choice.tensor], module.layers[2]
    assert isinstance(linear, nn.Linear)
    target = compiled.codings[linear_op.outputs[0]]
    with torch.no_grad():
        expected = reference(codes, linear.weight, linear.bias, choice, target.scale)
        assert torch.equal(held[linear_op.outputs[0]].double(), expected.clamp(target.low, target.high))
        # The codes mean x = s_c (q - z_c) with whole z_c: within their range, one step from what the LayerNorm makes.
        ratio, shift = choice.chosen.folded
        scale = ratio * choice.chosen.coding.scale
        zero = -shift / scale
        torch.testing.assert_close(zero, zero.round(), rtol=0, atol=1e-3)
        first, norm = module.layers[0], module.layers[1]
        off = (scale * (codes - zero) - norm(first(x).flatten(2).transpose(1, 2))).abs() / scale
        inside = (codes > choice.chosen.coding.low) & (codes < choice.chosen.coding.high)
        assert float(off[inside].mean()) < 1


def test_bridges_lower_the_noise_of_the_digits_hybrid_at_4_bit_activations() -> None:
    opened = open_workload(load_workload("digits_hybrid"), 60)
    arithmetic = Arithmetic(activations="int4", residual="int16")
    plain, bridged = (
        evaluate(calibrated(opened, arithmetic, Calibration("mse", bridges=b)), opened.data, 120) for b in (False, True)
    )
    assert plain.sqnr_db is not None
    assert bridged.sqnr_db is not None
    assert bridged.sqnr_db >= plain.sqnr_db
