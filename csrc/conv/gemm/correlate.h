/* Correlations by gathered GEMMs: every term of a sum is an offset into the planes, where they lie or in padded copies
 * of blocks of them, and an offset into the weights, and a register tile gathers both (kernels/gemm.h). */
#ifndef FC_CORRELATE_H
#define FC_CORRELATE_H

#include "../../kernels/kernels.h"
#include "../../platform/threads.h"
#include "../correlation.h"

/* Failures are in run->status. The result does not depend on the number of threads. */
void fc_correlate(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                  const fc_correlation *correlation);

/* The same of several that differ in their outputs, taps and weights alone, as the residues of a stride of dx do.
 * Where they read copies of planes, all read the same ones: dx with stride 2 took 0.65 to 0.95 of the time. */
void fc_correlate_residues(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                           const fc_correlation *residue, int residues);

/* Arranges the weights as fc_correlate would, if it would; fc_scratch_release releases packed->weights. */
void fc_pack_weights(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                     const fc_correlation *correlation, fc_packed *packed);

/* Says what fc_correlate will do, in up to `length` characters; returns the bytes that it allocates,
 * those of the weights in *packed_bytes. */
size_t fc_describe_correlation(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                               const fc_correlation *correlation, char *how, size_t length,
                               size_t *packed_bytes);

#endif
