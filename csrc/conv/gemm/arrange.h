/* The stage of a correlation: its register tile, its blocks, how tasks share them out, and which arrangement it has. */
#ifndef FC_GEMM_ARRANGE_H
#define FC_GEMM_ARRANGE_H

#include "stage.h"

/* Output channels whose weights are packed at once: all, unless they are too many and a panel of them is not. */
ptrdiff_t fc_channels_at_once(const fc_correlation *correlation, ptrdiff_t element_size);

/* Chooses all but the arrangement; the stage has c, kernels, size and run. Why that cannot be, as a sentence without a
 * full stop; NULL: it can. */
const char *fc_arrange(fc_gemm_stage *stage, fc_gemm_arrangement arrangement);

/* Chooses the arrangement too: what is estimated to take the fewest cycles. `alone`: of the one correlation; lines of
 * residues that are summed together end in several places, and are neither made one nor cut above and below. */
void fc_choose_arrangement(fc_gemm_stage *stage, int alone);

/* Whether weights are packed: where they are the vector, or do not lie in the order of the sums. */
int fc_needs_packed(const fc_gemm_stage *stage);

#endif
