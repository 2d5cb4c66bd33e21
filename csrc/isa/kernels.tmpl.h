/* All kernels of one instruction set for one element type, and their table.
 * Needs FC_ISA, FC_DTYPE, FC_TARGET, FC_REGISTERS and the VEC operations; VMAX(a, b) is b if b is NaN.
 * VLOAD_FIRST and VSTORE_FIRST, of part of a vector, only where they are fast. */
#define FC_NAME(stage) FC_JOIN4(fc_##stage##_, FC_DTYPE, _, FC_ISA)

#include "../kernels/gemm_kernel.tmpl.h"
#include "../kernels/move_kernels.tmpl.h"

const fc_kernels FC_JOIN4(fc_kernels_, FC_DTYPE, _, FC_ISA) = {
    .lanes = LANES,
#if FC_REGISTERS >= 32
    .rows = 8,
    .vecs = 3,
#else
    .rows = 4,
    .vecs = 3,
#endif
    .gemm =
        {
            {FC_NAME(gemm_1x1), FC_NAME(gemm_1x2), FC_NAME(gemm_1x3), FC_NAME(gemm_1x4)},
            {FC_NAME(gemm_2x1), FC_NAME(gemm_2x2), FC_NAME(gemm_2x3), FC_NAME(gemm_2x4)},
#if FC_REGISTERS >= 32
            {FC_NAME(gemm_3x1), FC_NAME(gemm_3x2), FC_NAME(gemm_3x3), FC_NAME(gemm_3x4)},
            {FC_NAME(gemm_4x1), FC_NAME(gemm_4x2), FC_NAME(gemm_4x3), FC_NAME(gemm_4x4)},
            {FC_NAME(gemm_5x1), FC_NAME(gemm_5x2), FC_NAME(gemm_5x3), FC_NAME(gemm_5x4)},
            {FC_NAME(gemm_6x1), FC_NAME(gemm_6x2), FC_NAME(gemm_6x3), FC_NAME(gemm_6x4)},
            {FC_NAME(gemm_7x1), FC_NAME(gemm_7x2), FC_NAME(gemm_7x3), NULL},
            {FC_NAME(gemm_8x1), FC_NAME(gemm_8x2), FC_NAME(gemm_8x3), NULL},
#else
            {FC_NAME(gemm_3x1), FC_NAME(gemm_3x2), FC_NAME(gemm_3x3), NULL},
            {FC_NAME(gemm_4x1), FC_NAME(gemm_4x2), FC_NAME(gemm_4x3), NULL},
            {FC_NAME(gemm_5x1), FC_NAME(gemm_5x2), NULL, NULL},
            {FC_NAME(gemm_6x1), FC_NAME(gemm_6x2), NULL, NULL},
            {NULL, NULL, NULL, NULL},
            {NULL, NULL, NULL, NULL},
#endif
        },
    .store = FC_NAME(store),
    .sum = FC_NAME(sum),
    .add = FC_NAME(add),
    .finite = FC_NAME(finite),
    .transpose = FC_NAME(transpose),
    .copy = FC_NAME(copy),
    .pad = FC_NAME(pad),
};

#undef FC_NAME
