"""Groups of parameters with options of their own."""

import numpy as np
import pytest

import spconv
from spconv import Parameter
from spconv.optim import SGD, Adam, AdamW, LossScaler, clip_grad_norm
from spconv.schedules import Cosine

MATRICES, VECTORS = ("a", "b"), ("c",)
SHAPES = {"a": (3, 2), "b": (2, 2), "c": (2,)}
KINDS = [
    (SGD, {"lr": 0.1}, {"lr": 0.05, "weight_decay": 0.2}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}, {"weight_decay": 0.0}),
    (SGD, {"lr": 0.1, "momentum": 0.9}, {"momentum": 0.5, "nesterov": True}),
    (SGD, {"lr": 0.1}, {"momentum": 0.5}),
    (SGD, {"lr": 0.1, "momentum": 0.5}, {"momentum": 0.0}),
    (Adam, {"lr": 0.01}, {"betas": (0.5, 0.9), "eps": 1e-3}),
    (Adam, {"lr": 0.01, "weight_decay": 0.1}, {"lr": 0.0025, "beta2": 0.9}),
    (AdamW, {"lr": 0.01}, {"weight_decay": 0.0, "lr": 0.04}),
]
each_kind = pytest.mark.parametrize(("kind", "options", "own"), KINDS)


def make(dtype=np.float64):
    rng = np.random.default_rng(0)
    return {name: Parameter(rng.standard_normal(s).astype(dtype)) for name, s in SHAPES.items()}


def pairs(parameters, names):
    return [(name, parameters[name]) for name in names]


def grouped(kind, options, own, parameters):
    vectors = {"params": iter(pairs(parameters, VECTORS)), **own}
    return kind([{"params": pairs(parameters, MATRICES)}, vectors], **options)


def run(optimizers, parameters, steps, seed=1):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for parameter in parameters.values():
            parameter.grad = rng.standard_normal(parameter.shape).astype(parameter.dtype)
        for optimizer in optimizers:
            optimizer.step()


def plain(kind, options, own):
    """The constructor's options of an optimizer of the group alone."""
    options = {**options, **own}
    if "beta2" in options:
        options["betas"] = (0.9, options.pop("beta2"))
    return options


@each_kind
def test_groups_do_what_optimizers_of_their_own_do(kind, options, own):
    parameters, expected = make(), make()
    optimizer = grouped(kind, options, own, parameters)
    assert list(optimizer.parameters) == ["a", "b", "c"]
    separate = [
        kind(pairs(expected, MATRICES), **options),
        kind(pairs(expected, VECTORS), **plain(kind, options, own)),
    ]
    run([optimizer], parameters, 8)
    run(separate, expected, 8)
    for name, parameter in parameters.items():
        np.testing.assert_allclose(parameter.data, expected[name].data, rtol=1e-13)


@each_kind
@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_a_state_comes_back_to_the_same_bits(tmp_path, kind, options, own, dtype):
    whole, first = make(dtype), make(dtype)
    run([grouped(kind, options, own, whole)], whole, 9)
    optimizer = grouped(kind, options, own, first)
    rng = np.random.default_rng(1)
    net = spconv.Module()
    net.held = first

    def step(optimizer, parameters):
        for parameter in parameters.values():
            parameter.grad = rng.standard_normal(parameter.shape).astype(dtype)
        optimizer.step()

    for _ in range(4):
        step(optimizer, first)
    spconv.save(tmp_path / "a.npz", net, optimizer)
    net = spconv.Module()
    net.held = make(dtype)
    # Everything but the parameters' places comes from the state.
    other = {"lr": 0.3, **({"momentum": 0.9} if "momentum" in {**options, **own} else {})}
    resumed = grouped(kind, other, {"lr": 0.01, "weight_decay": 0.3}, net.held)
    spconv.load(tmp_path / "a.npz").restore(net, resumed)
    for _ in range(5):
        step(resumed, net.held)
    for name, parameter in net.held.items():
        assert parameter.data.tobytes() == whole[name].data.tobytes()
    assert repr(resumed) == repr(optimizer)
    assert list(map(repr, resumed.groups)) == list(map(repr, optimizer.groups))


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_groups_without_options_are_no_groups(kind):
    parameters = make()
    one = kind([{"params": pairs(parameters, SHAPES)}], lr=0.1)
    rate = kind([{"params": pairs(parameters, SHAPES), "lr": 0.1}])
    two = kind([{"params": pairs(parameters, [name])} for name in SHAPES], lr=0.1)
    expected = kind(parameters.items(), lr=0.1).state_dict()
    for optimizer in (one, rate, two):
        state = optimizer.state_dict()
        assert state.keys() == expected.keys()
        optimizer.load_state_dict(expected)
        assert optimizer.lr == 0.1


def test_every_group_keeps_its_ratio_to_the_rate():
    a, b, c = make().items()
    sgd = SGD([{"params": [a]}, {"params": [b], "lr": 0.01}, {"params": [c], "lr": 0}], lr=0.1)
    assert [group.lr_scale for group in sgd.groups] == [1.0, 0.01 / 0.1, 0.0]
    sgd.lr = Cosine(0.1, total=10)(5)
    before = {name: p.data.copy() for name, p in (a, b, c)}
    for _, parameter in (a, b, c):
        parameter.grad = np.ones(parameter.shape)
    sgd.step()
    moved = [float((before[name] - p.data).max()) for name, p in (a, b, c)]
    np.testing.assert_allclose(moved, [0.05, 0.005, 0.0], rtol=1e-12)
    sgd.groups[2].lr_scale = 2.0  # thawed
    sgd.step()
    np.testing.assert_allclose(before["c"] - c[1].data, 0.1, rtol=1e-12)
    with pytest.raises(ValueError, match=r"SGD: group 2: lr_scale must be finite and >= 0, got -1"):
        sgd.groups[2].lr_scale = -1


def test_the_rate_is_the_largest_where_every_group_has_one():
    a, b, _ = make().items()
    sgd = SGD([{"params": [a], "lr": 0.0}, {"params": [b], "lr": 0.2}], lr=7.0)
    assert sgd.lr == 0.2
    assert [group.lr_scale for group in sgd.groups] == [0.0, 1.0]
    still = SGD([{"params": [a], "lr": 0.0}, {"params": [b], "lr": 0}])
    assert (still.lr, [group.lr_scale for group in still.groups]) == (0.0, [1.0, 1.0])


def test_a_ratio_that_has_become_another_is_loaded():
    def groups():
        a, b, _ = make().items()
        return SGD([{"params": [a]}, {"params": [b]}], lr=0.1)

    sgd, resumed = groups(), groups()
    sgd.groups[0].lr_scale = 0.0
    resumed.load_state_dict(sgd.state_dict())
    assert [group.lr_scale for group in resumed.groups] == [0.0, 1.0]


def test_groups_of_nothing_do_not_set_the_rate():
    a = next(iter(make().items()))
    sgd = SGD([{"params": [a], "lr": 0.1}, {"params": [], "lr": 5.0}])
    assert (sgd.lr, sgd.groups[0].lr_scale) == (0.1, 1.0)


def test_options_that_no_group_has_follow_the_optimizer():
    a, b, _ = make().items()
    sgd = SGD([{"params": [a]}, {"params": [b], "weight_decay": 0.0}], lr=0.5, weight_decay=0.1)
    sgd.weight_decay = 1.0
    before = a[1].data.copy(), b[1].data.copy()
    for _, parameter in (a, b):
        parameter.grad = np.zeros(parameter.shape)
    sgd.step()
    np.testing.assert_allclose(a[1].data, before[0] / 2)
    np.testing.assert_array_equal(b[1].data, before[1])


def test_parts_are_named_with_a_prefix():
    net = spconv.SparseSequential(spconv.Linear(2, 3), spconv.Linear(3, 2))
    body, head = net[0].named_parameters("0"), net[1].named_parameters("1")
    sgd = SGD([{"params": body}, {"params": head, "lr": 0.1}], lr=0.01)
    assert dict(net.named_parameters()) == sgd.parameters
    with pytest.raises(
        ValueError, match=r"path 'weight' comes twice.*named_parameters\(\"part\"\)"
    ):
        SGD([{"params": layer.named_parameters()} for layer in net])


def test_a_scaler_and_clipping_see_all_groups():
    parameters = make(np.float32)
    sgd = grouped(SGD, {"lr": 1.0}, {"lr": 0.5}, parameters)
    before = {name: p.data.copy() for name, p in parameters.items()}
    for parameter in parameters.values():
        parameter.grad = np.full(parameter.shape, 8.0, np.float32)
    assert LossScaler(scale=4.0).step(sgd)
    np.testing.assert_allclose(before["a"] - parameters["a"].data, 2.0, rtol=1e-6)
    np.testing.assert_allclose(before["c"] - parameters["c"].data, 1.0, rtol=1e-6)
    assert clip_grad_norm(sgd.parameters.values(), 1.0) == pytest.approx(2 * 12**0.5)


def test_a_shared_parameter_within_a_group_is_updated_once():
    shared = Parameter(np.zeros(1))
    sgd = SGD([{"params": [("encoder", shared), ("decoder", shared)]}], lr=1.0)
    shared.grad = np.ones(1)
    sgd.step()
    assert shared.data == -1
    assert list(sgd.parameters) == ["encoder"]


def test_an_optimizer_says_how_many_groups_it_has():
    sgd = grouped(SGD, {"lr": 0.1}, {"lr": 0.05}, make())
    assert repr(sgd).startswith("SGD(3 parameters in 2 groups, lr=0.1")
    assert repr(sgd.groups[1]) == "Group(1 parameters, lr_scale=0.5)"


P = Parameter(np.ones(2))
PAIR = ("w", P)
OTHER = ("v", Parameter(np.ones(2)))


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"params": [PAIR]}, TypeError, r'SGD: .*list of groups, got a group alone; .*\[\{"params'),
        ([{"params": [PAIR]}, OTHER], TypeError, "SGD: group 1 must be a dict as .* got tuple"),
        ([PAIR, {"params": [OTHER]}], TypeError, "SGD: group 0 must be a dict as .* got tuple"),
        ([{"lr": 0.1}], ValueError, r"SGD: group 0 has no \"params\", got \['lr'\]"),
        (
            [{"params": [P]}],
            TypeError,
            "SGD: group 0: expected .* pairs, got Parameter; pass model",
        ),
        ([{"params": P}], TypeError, "SGD: group 0: expected .* pairs, got Parameter; pass model"),
        ([{"params": 3}], TypeError, "SGD: group 0: expected .* pairs, got int; pass model"),
        ([{"params": [("w", P.data)]}], TypeError, "SGD: group 0: expected .* pairs, got tuple"),
        ([{"params": [PAIR], "lr": -1}], ValueError, "SGD: group 0: lr must be finite and >= 0"),
        ([{"params": [PAIR], "lr": "1"}], TypeError, "SGD: group 0: lr must be a number, got str"),
        ([{"params": [PAIR], "weight_decay": -1}], ValueError, "group 0: weight_decay must be"),
        ([{"params": [PAIR], "rate": 1}], ValueError, "group 0 has the option 'rate'; .*momentum"),
        ([{"params": [PAIR], "betas": 1}], ValueError, "group 0 has the option 'betas'"),
        ([{"params": [PAIR], "nesterov": True}], ValueError, "nesterov=True needs a momentum"),
        ([{"params": [PAIR]}] * 2, ValueError, "group 1: w is the parameter w of group 0; every"),
        (
            [{"params": [PAIR]}, {"params": [("v", P)]}],
            ValueError,
            "SGD: group 1: v is the parameter w of group 0; every parameter belongs to one group",
        ),
        (
            [{"params": [PAIR]}, {"params": [("w", OTHER[1])]}],
            ValueError,
            "SGD: the path 'w' comes twice",
        ),
        ([], ValueError, r"SGD: there are no parameters to optimize; is the model empty\?"),
        ([{"params": []}], ValueError, "SGD: there are no parameters to optimize; is the model"),
        (iter([]), ValueError, "SGD: there are no parameters .*was the iterator read before"),
        ([{"params": [PAIR]}, {"params": iter([])}], ValueError, "SGD: group 1 has an iterator"),
    ],
)
def test_wrong_groups_are_refused(groups, error, message):
    with pytest.raises(error, match=message):
        SGD(groups, lr=0.1)


def test_a_generator_that_was_read_before_is_noticed():
    net = spconv.Linear(2, 2)
    named = net.named_parameters()
    SGD(named, lr=0.1)
    with pytest.raises(ValueError, match=r"was the iterator read before\? call model\.named_par"):
        Adam(named)


def test_a_list_without_parameters_may_stand_beside_others():
    assert len(SGD([{"params": [PAIR]}, {"params": [], "lr": 0.5}], lr=0.1).groups) == 2


def test_a_ratio_to_nothing_is_refused():
    with pytest.raises(ValueError, match=r"SGD: a group has the learning rate 0\.5, the construct"):
        SGD([{"params": [PAIR]}, {"params": [OTHER], "lr": 0.5}], lr=0)


@pytest.mark.parametrize("betas", [0.9, (0.9,), "ab", None])
def test_betas_are_a_pair(betas):
    with pytest.raises((TypeError, ValueError), match=r"AdamW: betas(\[0\])? must be a"):
        AdamW([PAIR], betas=betas)
    with pytest.raises((TypeError, ValueError), match=r"AdamW: group 0: betas(\[0\])? must be a"):
        AdamW([{"params": [PAIR], "betas": betas}])


@pytest.mark.parametrize("name", ["betas", "beta1"])
def test_betas_of_a_group_are_below_1(name):
    value = (1.0, 0.5) if name == "betas" else 1.0
    with pytest.raises(ValueError, match=r"Adam: group 0: beta(s\[0\]|1) must be in \[0, 1\)"):
        Adam([{"params": [PAIR], name: value}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "groups"}, "missing groups"),
        (lambda s: {**s, "groups": s["groups"][:1]}, r"groups has shape \(1,\) instead of \(2,\)"),
        (
            lambda s: {**s, "groups": s["groups"][::-1]},
            "group 0 of the state is of other parameter",
        ),
        (lambda s: {**s, "groups": [1, 2]}, "group 0 of the state is of other parameters"),
        (
            lambda s: {**s, "groups": [s["groups"][0], {**s["groups"][1], "lr_scale": -1}]},
            "SGD: group 1: lr_scale must be finite",
        ),
        (
            lambda s: {**s, "groups": [s["groups"][0], {**s["groups"][1], "weight_decay": np.nan}]},
            "SGD: group 1: weight_decay must be finite",
        ),
    ],
)
def test_a_state_of_other_groups_changes_nothing(change, message):
    sgd = grouped(SGD, {"lr": 0.1}, {"weight_decay": 0.5}, make())
    before = sgd.state_dict()
    with pytest.raises(ValueError, match=message):
        sgd.load_state_dict(change({**before, "lr": 0.7}))
    assert sgd.state_dict() == before
    with pytest.raises(ValueError, match=r"groups has shape \(2,\) instead of \(1,\)"):
        SGD(make().items(), lr=0.1).load_state_dict(before)
    one = SGD([{"params": pairs(make(), SHAPES), "weight_decay": 0.5}], lr=0.1).state_dict()
    plain = SGD(make().items(), lr=0.1)
    plain.load_state_dict(one)
    assert plain.state_dict() == one, "its only group has the options of the state's"


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_a_step_before_any_backward_does_nothing(kind):
    parameters = make()
    optimizer = kind(parameters.items(), lr=0.1)
    optimizer.step()
    for name, parameter in make().items():
        np.testing.assert_array_equal(parameters[name].data, parameter.data)
    assert optimizer.state_dict()["a/step"] == 0


def test_settings_that_a_group_does_not_have():
    sgd = grouped(SGD, {"lr": 0.1}, {"weight_decay": 0.5}, make())
    with pytest.raises(AttributeError, match="a group has no attribute 'lr'; set its lr_scale"):
        sgd.groups[1].lr = 0.5
    with pytest.raises(AttributeError, match=r"'weight_decay'; .* options\['weight_decay'\]"):
        sgd.groups[1].weight_decay = 3.0
    sgd.groups[1].lr_scale = 2.0
    sgd.groups[1].options["weight_decay"] = 0.0
    assert (sgd.groups[1].lr_scale, sgd.groups[1].options) == (2.0, {"weight_decay": 0.0})
