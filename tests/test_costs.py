"""Shapes and costs, against the numbers worked out in the course notes."""

import pytest

import fastconv


def test_5x5_filters_on_a_32x32x3_image():
    assert fastconv.conv_output_shape((1, 3, 32, 32), (1, 3, 5, 5)) == (1, 1, 28, 28)
    assert fastconv.conv_output_shape((1, 3, 32, 32), (1, 3, 5, 5), padding=2) == (1, 1, 32, 32)
    ten = fastconv.conv_cost((1, 3, 32, 32), (10, 3, 5, 5), padding=2)
    assert ten.output_shape == (1, 10, 32, 32)
    assert ten.parameters == 760
    without_bias = fastconv.conv_cost((1, 3, 32, 32), (10, 3, 5, 5), padding=2, bias=False)
    assert without_bias.parameters == 750
    assert ten.multiply_adds == 32 * 32 * 10 * 75


def test_1x1_convolution_keeps_the_image_size():
    assert fastconv.conv_output_shape((2, 3, 9, 7), (5, 3, 1, 1)) == (2, 5, 9, 7)


def test_network_on_64x64_rgb_images():
    shape = (8, 3, 64, 64)
    parameters, dense = [], []

    def conv(w, **options):
        nonlocal shape
        cost = fastconv.conv_cost(shape, w, **options)
        shape = cost.output_shape
        parameters.append(cost.parameters)
        dense.append(cost.dense_parameters)

    conv((16, 3, 3, 3), padding=1)
    assert shape == (8, 16, 64, 64)
    shape = fastconv.pool_output_shape(shape, 2)
    assert shape == (8, 16, 32, 32)
    conv((32, 16, 3, 3))
    assert shape == (8, 32, 30, 30)
    shape = fastconv.pool_output_shape(shape, 2, padding=1)
    assert shape == (8, 32, 16, 16)
    conv((8, 32, 1, 1))
    assert shape == (8, 8, 16, 16)
    conv((4, 8, 5, 5))
    assert shape == (8, 4, 12, 12)
    assert shape[1] * shape[2] * shape[3] == 576
    # The linear layer 576 -> 10 is a convolution whose kernel is the whole image.
    conv((10, 4, 12, 12))
    assert shape == (8, 10, 1, 1)
    assert parameters == [448, 4640, 264, 804, 5770]
    # 3*64*64 * 16*64*64 + 16*64*64, and so on: one weight a pair of elements, one bias an output.
    assert dense[:4] == [805371904, 471888000, 16779264, 1180224]


def test_same_padding_rounds_the_output_up():
    assert fastconv.conv_output_shape(
        (1, 1, 7, 8), (1, 1, 4, 4), stride=(2, 3), padding="same"
    ) == (1, 1, 4, 3)


def test_layout_groups_and_dilation_are_counted():
    cost = fastconv.conv_cost(
        (2, 20, 20, 8), (8, 1, 3, 3), groups=8, dilation=2, layout="NHWC", bias=False
    )
    assert cost.output_shape == (2, 16, 16, 8)
    assert cost.parameters == 72
    assert cost.multiply_adds == 2 * 16 * 16 * 8 * 9
    assert cost.dense_parameters == 20 * 20 * 8 * 16 * 16 * 8


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 0), (-1, 3, 5), "abc", (1, 3, 2.0), 7])
def test_impossible_shapes_are_refused(shape):
    with pytest.raises((ValueError, TypeError), match=r"^x_shape"):
        fastconv.pool_output_shape(shape, 1)
    for call in (fastconv.conv_output_shape, fastconv.conv_cost):
        with pytest.raises((ValueError, TypeError), match=r"^x_shape"):
            call(shape, (1, 3, 1))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 0), (0, 3, 5), "abc", (1, 3, 2.0), 7])
def test_impossible_weights_are_refused(shape):
    for call in (fastconv.conv_output_shape, fastconv.conv_cost):
        with pytest.raises((ValueError, TypeError), match=r"^w_shape"):
            call((1, 3, 9), shape)
