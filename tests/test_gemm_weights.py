"""dw by gathered GEMMs: what its paths do beyond the sums, to which test_paths.py holds all."""

import numpy as np
import pytest
from cases import Case, assert_same_bits

import fastconv

# Of two groups; with AVX-512 and without most of its taps are worth being left out.
BY_TAP = Case("groups", (3, 96, 7, 8), (96, 48, 3, 3), {"padding": 1, "groups": 2})
VOLUME = Case("volume", (2, 64, 3, 6, 7), (64, 64, 2, 3, 3), {"padding": (0, 1, 1)})


def gradients(case, path, dy, x, need=("dw", "db")):
    w = np.zeros(case.w, x.dtype)
    result = fastconv.conv_backward(dy, x, w, need=need, algorithm=path, **case.options)
    return [getattr(result, name) for name in need]


def operands(case, dtype=np.float32):
    x, _, _ = case.random(dtype=dtype)
    shape = fastconv.conv_output_shape(case.x, case.w, **case.options)
    return x, np.random.default_rng(1).uniform(-1, 1, shape).astype(dtype)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("threads", [1, 3])
def test_by_tap_a_group_of_which_dy_is_not_finite_is_done_again_by_block(value, threads, isa):
    x, dy = operands(BY_TAP)
    spoiled = dy.copy()
    spoiled[1, 50, 0, 3] = value  # beside the padding
    with fastconv.num_threads(threads):
        taps = gradients(BY_TAP, "implicit_gemm/by_tap", dy, x)
        again = gradients(BY_TAP, "implicit_gemm/by_tap", spoiled, x)
        right = gradients(BY_TAP, "implicit_gemm/by_block", spoiled, x)
    for got, finite, padded in zip(again, taps, right, strict=True):
        assert_same_bits(got[:48], finite[:48])
        assert_same_bits(got[48:], padded[48:])
    assert np.isnan(again[0][50]).any()


@pytest.mark.parametrize("position", [0, -1])
def test_output_planes_are_added_up_once_where_the_first_is_done_again(position, isa):
    x, dy = (np.rint(4 * a) for a in operands(VOLUME))
    dy[0, 5, position, 2, 2] = np.inf
    expected = gradients(VOLUME, "naive", dy, x)
    actual = gradients(VOLUME, "implicit_gemm/first_by_tap", dy, x)
    for got, want in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_by_tap_names_what_takes_over():
    for case, path in ((BY_TAP, "by_tap"), (VOLUME, "first_by_tap")):
        geometry = dict(case.options, algorithm=f"implicit_gemm/{path}")
        plan = fastconv.explain("dw", case.x, case.w, **geometry)
        assert plan["fallback"] == "implicit_gemm/by_block"
        assert plan["tasks"] >= 1 and plan["workspace_bytes"] > 0 and plan["tile"][0] > 1


@pytest.mark.parametrize("case", [BY_TAP, VOLUME], ids=str)
def test_db_alone_is_the_same(case, isa):
    x, dy = (np.rint(4 * a) for a in operands(case))
    expected = gradients(case, "naive", dy, x, ("db",))
    np.testing.assert_array_equal(gradients(case, "implicit_gemm", dy, x, ("db",)), expected)
    for path in ("few_sums", "mixed", "by_tap", "first_by_tap"):
        with pytest.raises(ValueError, match="cannot do this problem"):
            gradients(case, f"implicit_gemm/{path}", dy, x, ("db",))


def test_the_arrangement_is_chosen_as_it_was_measured():
    def chosen(x_shape, w_shape, **geometry):
        geometry = dict(geometry, algorithm="implicit_gemm")
        return fastconv.explain("dw", x_shape, w_shape, **geometry)["path"].partition("/")[2]

    for isa in fastconv.isas():
        with fastconv.use_isa(isa):
            few = "few_sums" if isa == "avx512" else "by_block"
            assert chosen((100, 3, 31, 31), (25, 3, 3, 3), stride=2, padding=1) == few
            assert chosen((8, 64, 56, 56), (64, 64, 3, 3), padding=1) == "by_tap"
            assert chosen((8, 256, 14, 14), (1024, 256, 1, 1)) == "by_block"
            assert chosen((1, 64, 4, 14, 14), (64, 64, 3, 3, 3), padding=1) == "by_block"
            assert chosen((1, 64, 4, 14, 14), (64, 64, 3, 3, 3), padding=(0, 1, 1)) == (
                "first_by_tap"
            )
            # Planes in place would lie in the same sets of the cache, those that are copied do not.
            volume = chosen((2, 2, 4, 16, 32), (8, 2, 3, 1, 1), padding=(1, 0, 0))
            assert volume == ("mixed" if isa == "avx512" else "by_block")
