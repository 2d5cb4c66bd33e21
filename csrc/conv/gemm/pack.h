/* Weights in the order in which tiles read them: [panel][term][channel of the panel], the last panel filled up with
 * zeros. */
#ifndef FC_GEMM_PACK_H
#define FC_GEMM_PACK_H

#include "stage.h"

/* All panels of a bound stage; NULL, and in its run FC_NO_MEMORY, if there is no memory. fc_scratch_release releases
 * them. */
char *fc_pack_all(const fc_gemm_stage *stage);

/* The panel of output channels from `channel` on, which a task packs for itself, to scratch->panel. */
void fc_pack_own(const fc_gemm_stage *stage, fc_gemm_scratch *scratch, ptrdiff_t channel);

#endif
