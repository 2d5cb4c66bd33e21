#include "limits.h"

#include "../../arithmetic.h"
#include "../../tuning.h"
#include "../correlations.h"

/* Elements of the copy that one line of outputs needs of one plane, at least. */
static double elements_of_a_line(const fc_axis axis[2]) {
    double elements = 1;
    for (int i = 0; i < 2; i++) {
        if (!axis[i].outputs) return 0;
        const ptrdiff_t count = min(axis[i].outputs, i ? FC_GEMM_BLOCK_OUTPUTS : 1);
        const fc_residues residues = fc_split_axis(&axis[i], count);
        elements *= (double)residues.residues * ((double)count + (double)residues.reach);
    }
    return elements;
}

const char *fc_gemm_refusal(fc_op op, const fc_conv_problem *p) {
    fc_axis axis[2];
    for (int i = 0; i < 2; i++)
        axis[i] = op == FC_BACKWARD_DATA ? fc_conv_backward_bound(p, i + 1) : fc_conv_forward_axis(p, i + 1);
    return elements_of_a_line(axis) > FC_GEMM_MAX_ELEMENTS
               ? "the taps of one line of outputs span more than 2**20 elements"
               : NULL;
}
