"""Architecture against the published parameter counts, and the pieces of the model."""

import warnings
from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.models.backbones import Goten, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.heads import FreeFormHead
from dielectric_gnn.models.layers.message_passing import CGConv, MessagePassing, ResidualGATv2, TransformerConv
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.testing import graph_of, labelled, sample_crystals
from dielectric_gnn.training.evaluation import labels_of, trainable_parameters
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.objective import MaeObjective
from dielectric_gnn.training.schedule import LearningRateScaling, WarmupCosine
from dielectric_gnn.utils.errors import InputError

# Width: parameters of OptiMetal2B with CGConv and with TransformerConv, and of OptiMetal3B (arXiv:2602.05702).
PUBLISHED = {
    16: (278_627, 278_275, 291_827),
    32: (585_507, 583_779, 635_459),
    64: (1_296_035, 1_288_483, 1_490_147),
    128: (3_104_163, 3_072_675, 3_869_219),
    256: (8_268_707, 8_140_195, 11_306_147),
    512: (24_790_947, 24_271_779, 36_895_139),
    1024: (82_608_035, 80_521_123, 130_933_667),
}


@pytest.mark.parametrize("width", PUBLISHED)
def test_models_have_the_published_number_of_parameters(width: int) -> None:
    with torch.device("meta"):
        backbones = [OptiMetal2B(width), OptiMetal2B(width, message_passing=TransformerConv), OptiMetal3B(width)]
        assert tuple(trainable_parameters(DielectricModule(backbone)) for backbone in backbones) == PUBLISHED[width]


@pytest.mark.parametrize("message_passing", [CGConv, TransformerConv, ResidualGATv2])
@pytest.mark.parametrize("architecture", [OptiMetal2B, OptiMetal3B])
def test_bf16_autocast_stays_close_to_float32(
    architecture: type[OptiMetal2B], message_passing: type[MessagePassing]
) -> None:
    """Matrix products in bf16, sums and statistics in float32, as the published recipe trains."""
    torch.manual_seed(0)
    module = DielectricModule(architecture(16, message_passing=message_passing))
    graph = graph_of([labelled(record) for record in sample_crystals()], 5.5, torch.float32)
    exact = module.objective.per_material(module(graph), labels_of(graph))["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = module.objective.per_material(module(graph), labels_of(graph))["loss"]
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)
    rounded.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def published_optimate() -> DielectricModule:
    return DielectricModule(
        OptiMate(),
        head=partial(FreeFormHead, hidden_dims=[1024] * 3, components=["im"], leaky_output=True, drude=False),
        objective=MaeObjective(drude_weight=0, components=["im"]),
    )


def test_optimate_has_the_published_number_of_parameters() -> None:
    assert trainable_parameters(published_optimate()) == 4_902_545


def test_imaginary_head_leaves_the_rest_undefined_and_trains() -> None:
    module = published_optimate()
    data = CrystalDataModule(ExampleMetals(parts=1))
    data.setup("fit")
    graph = data.store.gather(range(6))
    response = module(graph)
    assert response.eps_inter[..., 0].isnan().all() and response.drude.isnan().all()
    assert response.eps_inter[..., 1].isfinite().all()
    target = Response(graph.eps_inter, graph.drude)  # type: ignore[arg-type]
    loss = module.objective.per_material(response, target)["loss"]
    expected = (response.eps_inter[..., 1] - target.eps_inter[..., 1]).abs().mean(dim=1)
    torch.testing.assert_close(loss, expected)
    loss.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_real_head_puts_its_spectrum_in_the_real_part() -> None:
    head = FreeFormHead(4, EnergyGrid(0, 20, 11), components=["re"], drude=False)
    eps = head(torch.randn(2, 4)).eps_inter
    assert eps.shape == (2, 11, 2) and eps[..., 0].isfinite().all() and eps[..., 1].isnan().all()


def test_drude_frequency_is_never_negative() -> None:
    head = FreeFormHead(4, EnergyGrid(0, 20, 11))
    assert (head(torch.randn(64, 4)).drude >= 0).all()


def test_head_and_objective_must_treat_the_same_quantities() -> None:
    with pytest.raises(InputError, match=r"FreeFormHead predicts .*'re'.* but MaeObjective compares \['im'\]"):
        DielectricModule(OptiMetal2B(8), objective=MaeObjective(drude_weight=0, components=["im"]))


def test_objective_is_its_formula() -> None:
    grid = EnergyGrid(0, 20, 5)
    torch.manual_seed(0)
    prediction, target = (Response(torch.randn(3, grid.num, 2), torch.rand(3)) for _ in range(2))
    terms = MaeObjective(eps_weight=2.0, drude_weight=0.5).per_material(prediction, target)
    for row in range(3):
        mae = (prediction.eps_inter[row] - target.eps_inter[row]).abs().mean()
        drude = (prediction.drude[row] - target.drude[row]).abs()
        torch.testing.assert_close(terms["loss"][row], 2 * mae + 0.5 * drude)


@pytest.mark.parametrize("bad", [{"eps_weight": 0}, {"drude_weight": -1}, {"components": []}])
def test_impossible_objectives_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="eps_weight"):
        MaeObjective(**bad)  # type: ignore[arg-type]


def test_schedule_warms_up_and_anneals_to_zero() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    scheduler = WarmupCosine(warmup_epochs=5).build(optimizer, max_epochs=25, steps_per_epoch=7)
    rates = []
    for _ in range(25):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(1e-7)
    assert rates[1] == pytest.approx(1e-7 + (0.01 - 1e-7) / 5)
    assert rates[5] == pytest.approx(0.01) == max(rates)
    assert rates[15] == pytest.approx(0.005)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_schedule_equals_the_published_chain_of_schedulers() -> None:
    """LinearLR for 5 epochs, then CosineAnnealingLR over 500, chained by SequentialLR, for 500 epochs."""
    ours, theirs = (torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=6e-4) for _ in range(2))
    schedule = WarmupCosine(cosine_epochs=500).build(ours, max_epochs=500, steps_per_epoch=1)
    chain = SequentialLR(
        theirs, [LinearLR(theirs, 1e-7 / 6e-4, total_iters=5), CosineAnnealingLR(theirs, T_max=500)], milestones=[5]
    )
    for _ in range(500):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-6)
        for optimizer, scheduler in ((ours, schedule), (theirs, chain)):
            optimizer.step()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SequentialLR calls its parts in a way that PyTorch deprecates
                scheduler.step()


def test_schedule_by_step_passes_through_the_same_rates() -> None:
    schedule = WarmupCosine(warmup_epochs=2, interval="step")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    scheduler = schedule.build(optimizer, max_epochs=10, steps_per_epoch=4)
    for step in range(40):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(schedule.rate(step / 4, 0.01, 10))
        optimizer.step()
        scheduler.step()


def test_annealing_needs_an_end() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    with pytest.raises(InputError, match="max_epochs"):
        WarmupCosine().build(optimizer, max_epochs=-1, steps_per_epoch=1)


def test_learning_rate_rule_is_its_formula() -> None:
    rule = LearningRateScaling(reference_parameters=8_140_195, exponent=0.5)
    assert rule.factor(278_275) == pytest.approx((8_140_195 / 278_275) ** 0.5)
    assert rule.factor(8_140_195) == 1.0
    with pytest.raises(InputError, match="reference_parameters is 0"):
        LearningRateScaling(0)


def test_compiled_backbones_keep_their_names_and_results() -> None:
    torch.manual_seed(0)
    plain = DielectricModule(Goten(8, l_max=1)).eval()
    compiled = DielectricModule(Goten(8, l_max=1), compile_backend="eager").eval()
    assert list(compiled.state_dict()) == list(plain.state_dict())
    compiled.load_state_dict(plain.state_dict())
    for records in (sample_crystals(), sample_crystals()[1:]):
        graph = graph_of(records, 5.5, torch.float32)
        torch.testing.assert_close(compiled(graph).eps_inter, plain(graph).eps_inter, rtol=1e-4, atol=1e-5)
