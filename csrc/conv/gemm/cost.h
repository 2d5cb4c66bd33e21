/* Estimates in cycles of one thread, by which arrangements are compared. Constants are those of Zen 4, with AVX-512. */
#ifndef FC_GEMM_COST_H
#define FC_GEMM_COST_H

#include "stage.h"

/* All copies of planes; 0 in place. */
double fc_fill_cycles(const fc_gemm_stage *stage);

/* What each line of these takes beside its elements: for comparing copies of pixels alone. */
double fc_copied_line_cycles(const fc_gemm_stage *stage);

/* All tiles with pixels in the vector: of each line of outputs, as by_line and is_dense say, or of each block. */
double fc_pixel_cycles(const fc_gemm_stage *stage);

/* All tiles with output channels in the vector, which have this share of the terms. */
double fc_channel_tile_cycles(const fc_gemm_stage *stage, double share);

/* The share that they have if taps above and below the input are left out; *pieces: so many runs of lines. */
double fc_share_of_lines(const fc_gemm_stage *stage, ptrdiff_t *pieces);

#endif
