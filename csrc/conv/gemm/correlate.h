/* Correlations of a call by gathered GEMMs: every term of a sum is an offset into the planes, where they lie or in
 * padded copies of blocks of them, and an offset into the weights, and a register tile gathers both (kernels/gemm.h).
 *
 * What is chosen stands in the kind of a correlation; nothing is chosen here. Failures are in the run's status. Results
 * do not depend on the number of threads. */
#ifndef FC_GEMM_CORRELATE_H
#define FC_GEMM_CORRELATE_H

#include "../correlations.h"
#include "stage.h"

/* A correlation as its stages say. Whether it is done: not, if taps would be left out whose product with a weight that
 * is infinite or NaN counts. */
int fc_correlate(fc_conv_job *j, const fc_gemm_kind *kind, const fc_correlation *correlation);

/* Several that differ in their outputs, taps and weights alone, as the residues of a stride of dx do, from the same
 * copies; `all`: what any of them reads. */
void fc_correlate_together(fc_conv_job *j, const fc_gemm_kind *kind, const fc_correlation *all,
                           const fc_correlation *residue, int residues);

/* Arranges the weights as fc_correlate would, if it would, all at once; fc_scratch_release releases packed->weights. */
void fc_pack_weights(fc_conv_job *j, const fc_gemm_kind *kind, const fc_correlation *correlation, fc_packed *packed);

/* Bytes that all tasks of a stage allocate beside packed weights; `prepared`: these are there. */
size_t fc_scratch_bytes(const fc_gemm_stage *stage, int prepared);

#endif
