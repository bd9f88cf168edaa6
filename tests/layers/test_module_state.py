"""States of a module: dtypes, parts of them, and what may stand in a parameter's place."""

from typing import Generic, TypeVar

import numpy as np
import pytest

import spconv


def make():
    rng = np.random.default_rng(0)
    return spconv.SparseSequential(
        spconv.SubMConv2d(1, 4, 3, rng=rng),
        spconv.BatchNorm(4),
        spconv.SubMConv2d(4, 2, 3, rng=rng),
    )


def example(dtype):
    image = np.zeros((1, 1, 8, 8), dtype)
    image[0, 0, np.arange(8), np.arange(8)] = 1
    return spconv.from_dense(image, ground_state=[0.0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, "float64"])
def test_a_network_is_converted(dtype):
    net = make()
    net[0].weight.grad = np.ones(net[0].weight.shape, np.float32)
    assert net.astype(dtype) is net
    assert {array.dtype for array in net.state_dict().values()} == {np.dtype(dtype)}
    assert net[0].weight.grad is None
    y = net(example(dtype))
    assert y.features.dtype == np.dtype(dtype)
    np.testing.assert_allclose(
        y.features.data, make()(example(np.float32)).features.data, rtol=1e-4, atol=1e-5
    )


def test_statistics_of_half_precision_stay_single():
    net = make().astype(np.float16)
    assert net[0].weight.dtype == net[1].weight.dtype == np.float16
    assert net[1].running_mean.dtype == net[1].running_var.dtype == np.float32


def test_a_part_of_a_state_is_named_as_one_and_taken_over_so():
    net, other = make(), make()
    part = {"0.weight": np.zeros(net[0].weight.shape, np.float32)}
    with pytest.raises(ValueError, match=r"missing 0\.bias; .*; to take over .* pass strict=False"):
        net.load_state_dict(part)
    missing, unexpected = net.load_state_dict(part, strict=False)
    assert set(missing) == net.state_dict().keys() - part.keys()
    assert unexpected == []
    assert not net[0].weight.data.any()
    np.testing.assert_array_equal(net[2].weight.data, other[2].weight.data)


def test_a_result_does_not_take_a_parameters_place():
    net = make()
    with pytest.raises(TypeError, match="weight is a Parameter, got Tensor; assign"):
        net[0].weight = net[0].weight * 0.5
    net[0].weight = spconv.Tensor(net[0].weight.data)  # frozen
    assert "0.weight" not in net.state_dict()


def test_a_whole_state_leaves_nothing_out():
    net = make()
    assert net.load_state_dict(make().state_dict()) == ([], [])
    assert net.load_state_dict(make().state_dict(), strict=False) == ([], [])


def test_strict_errors_name_everything():
    net = make()
    state = {f"other.{number}": np.zeros(2) for number in range(20)}
    with pytest.raises(ValueError, match="does not fit this module") as error:
        net.load_state_dict({**state, "0.bias": np.zeros(3, np.float32)})
    message = str(error.value)
    assert all(f"unexpected {path}" in message for path in state)
    assert all(f"missing {path}" in message for path in net.state_dict() if path != "0.bias")
    assert "0.bias has shape (3,), expected (4,)" in message


def test_what_has_a_place_is_taken_over_with_its_buffers():
    net, other = make(), make()
    other[1].running_mean = np.arange(4, dtype=np.float32)
    other[2].bias.data = np.ones(2, np.float32)
    before = net.state_dict()
    part = {path: array for path, array in other.state_dict().items() if path != "2.weight"}
    found = net.load_state_dict({**part, "head.weight": np.ones(3)}, strict=False)
    assert found.missing_keys == ["2.weight"]
    assert found.unexpected_keys == ["head.weight"]
    np.testing.assert_array_equal(net[1].running_mean, np.arange(4))
    np.testing.assert_array_equal(net[2].bias.data, 1)
    np.testing.assert_array_equal(net[2].weight.data, before["2.weight"])


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        (
            {"0.bias": np.zeros(3, np.float32)},
            ValueError,
            r"0\.bias has shape \(3,\), expected \(4,\); leave those out and pass strict=False",
        ),
        ({"0.bias": np.zeros(4, np.int64)}, TypeError, r"0\.bias has dtype float32, got int64"),
        ({"0.bias": [True] * 4, "1.bias": np.zeros(4, bool)}, TypeError, r"1\.bias .* got bool"),
        pytest.param(
            {"0.bias": np.zeros(4, np.longdouble)},
            TypeError,
            r"0\.bias has dtype float32, got (longdouble|float128); .* to float64 at most",
            marks=pytest.mark.skipif(np.longdouble(0).itemsize == 8, reason="of 64 bits here"),
        ),
        ({"0.bias": [[1.0, 2.0], [3.0]]}, TypeError, r"NumPy cannot read 0\.bias, list: .*shape"),
        ({"0.bias": ["a"] * 4}, TypeError, r"0\.bias must be an array of numbers, got list"),
        ({"0.bias": None}, TypeError, r"0\.bias must be an array of numbers, got NoneType"),
        ({"0.bias": 1.0}, ValueError, r"0\.bias has shape \(\), expected"),
        (None, TypeError, "expected a dict, .* got NoneType"),
    ],
)
def test_shapes_and_kinds_are_checked_in_any_case(part, error, message):
    net = make()
    before = net.state_dict()
    weight = {} if part is None else {"0.weight": np.ones(net[0].weight.shape, np.float32)}
    with pytest.raises(error, match=rf"SparseSequential\.load_state_dict: .*{message}"):
        net.load_state_dict(None if part is None else {**weight, **part}, strict=False)
    for path, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[path])


@pytest.mark.parametrize("dtype", ["float16", "float64", "list"])
def test_what_is_loaded_is_not_rounded_and_narrows_nothing(dtype):
    net, other = make(), make()
    state = {
        path: array.tolist() if dtype == "list" else array.astype(dtype)
        for path, array in other.state_dict().items()
    }
    net.load_state_dict(state)
    for path, array in net.state_dict().items():
        assert array.dtype == ("float64" if dtype == "float64" else "float32")
        np.testing.assert_array_equal(array, np.asarray(state[path], array.dtype))
    net.load_state_dict(other.state_dict())
    assert net[0].weight.dtype == ("float64" if dtype == "float64" else "float32")


def test_lists_of_integers_are_numbers():
    net = make()
    net.load_state_dict({"0.bias": [1, 2, 3, 4], "1.running_mean": [0, 0, 1, 0]}, strict=False)
    assert net[0].bias.dtype == net[1].running_mean.dtype == np.float32
    assert net[0].bias.data.tolist() == [1, 2, 3, 4]


def test_lists_of_floats_are_no_counts():
    class Counted(spconv.Module):
        buffer_names = ("count",)

        def __init__(self):
            self.count = np.zeros(2, np.int32)

    net = Counted()
    net.load_state_dict({"count": [1, 2]})
    assert net.count.dtype == np.int32
    with pytest.raises(TypeError, match="count has dtype int32, got float64"):
        net.load_state_dict({"count": [1.0, 2.5]})
    assert net.count.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("names", "value", "message"),
    [
        ("mean", np.zeros(2), r"must be a tuple of attribute names, got 'mean'; write \('mean',\)"),
        ([0], np.zeros(2), r"must be a tuple of attribute names, got \[0\]$"),
        (
            ("other",),
            np.zeros(2),
            "has 'other', which must be an array, got no such attribute; ass",
        ),
        (
            ("mean",),
            [1.0],
            r"has 'mean', which must be an array, got list; .* self\.mean in __init",
        ),
    ],
)
def test_buffers_are_arrays_by_name(names, value, message):
    class Averages(spconv.Module):
        buffer_names = names

        def __init__(self):
            self.mean = value

    net = spconv.SparseSequential(Averages())
    for call in (
        net.state_dict,
        lambda: net.load_state_dict({}),
        lambda: net.astype("float64"),
        lambda: net.to("cpu"),
        lambda: spconv.inference.freeze(net),
    ):
        with pytest.raises(TypeError, match=f"^Averages: buffer_names {message}"):
            call()


class Slotted:
    __slots__ = ("conv",)


@pytest.mark.parametrize("bases", [(spconv.Module,), (Slotted, spconv.Module)])
def test_parts_in_slots_are_refused(bases):
    """They would be found neither by an optimizer nor in a state."""
    slots = {} if len(bases) == 2 else {"__slots__": ("conv",)}
    owner = "Slotted" if len(bases) == 2 else "Net"
    message = rf"Net: a Module holds .* attributes, got {owner}\.__slots__ = \('conv',\); leave"
    with pytest.raises(TypeError, match=message):
        type("Net", bases, slots)


def test_empty_slots_and_options_of_other_bases_are_fine():
    class Named:
        __slots__ = ()

        def __init_subclass__(cls, label, **options):
            super().__init_subclass__(**options)
            cls.label = label

    class Net(Named, spconv.Module, Generic[TypeVar("T")], label="net"):
        def __init__(self):
            self.linear = spconv.Linear(2, 2)

    assert Net.label == "net"
    assert len(Net().state_dict()) == 2
