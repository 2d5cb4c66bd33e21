/* The gradients of weights by gathered GEMMs: dw and db of a correlation. */
#ifndef FC_GEMM_WEIGHTS_H
#define FC_GEMM_WEIGHTS_H

#include "../../kernels/kernels.h"
#include "../../platform/threads.h"
#include "../correlation.h"

/* dw and db of a gradient, written or added to what is there. */
void fc_correlate_weights(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                          const fc_weights_gradient *gradient, int accumulate);

/* The same with pixels in the vector, where that is quicker; returns whether nothing is left to do. */
int fc_correlate_weights_by_pixels(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                                   const fc_weights_gradient *gradient, int accumulate);

#endif
