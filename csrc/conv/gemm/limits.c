#include "limits.h"

#include "../correlations.h"

/* Elements of the copy that one row of outputs needs of one plane, at least. */
static double elements_of_a_row(const fc_axis axis[2]) {
    double elements = 1;
    for (int i = 0; i < 2; i++) {
        if (!axis[i].outputs) return 0;
        const ptrdiff_t most = i ? 2048 : 1;
        const ptrdiff_t count = axis[i].outputs < most ? axis[i].outputs : most;
        const fc_residues residues = fc_split_axis(&axis[i], count);
        elements *= (double)residues.residues * ((double)count + (double)residues.reach);
    }
    return elements;
}

/* Kernels of that many taps are nobody's; without the bound their copies would not fit memory. */
static const double MAX_ELEMENTS = 1 << 20;

const char *fc_gemm_refusal(fc_op op, const fc_conv_problem *p) {
    fc_axis axis[2];
    for (int i = 0; i < 2; i++)
        axis[i] = op == FC_BACKWARD_DATA ? fc_conv_backward_axis(p, i + 1) : fc_conv_forward_axis(p, i + 1);
    return elements_of_a_row(axis) > MAX_ELEMENTS
               ? "the taps of one row of outputs span more than 2**20 elements"
               : NULL;
}
