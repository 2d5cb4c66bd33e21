/* The paths of convolutions, whose order of preference is in plan.c. */
#ifndef FC_CONV_ALGORITHM_H
#define FC_CONV_ALGORITHM_H

#include "../path.h"
#include "../platform/threads.h"

extern const fc_path fc_path_fully_connected, fc_path_naive;

extern const fc_path fc_path_direct_channels, fc_path_direct_narrow, fc_path_direct_transposed, fc_path_direct_in_place,
    fc_path_direct_copies, fc_path_direct_mixed;

extern const fc_path fc_path_winograd_2x2_3x3, fc_path_winograd_4x4_3x3, fc_path_winograd_4x2_5x5,
    fc_path_winograd_5x5_2x2, fc_path_winograd_5_2, fc_path_winograd_4_3, fc_path_winograd_4_5, fc_path_winograd_2_7;

extern const fc_path fc_path_packed_pixels;

/* Gathered GEMMs of y and dx; of some dx has its own. */
extern const fc_path fc_path_gemm_pixels, fc_path_gemm_pixels_apart, fc_path_gemm_channels, fc_path_gemm_pieces,
    fc_path_gemm_row_pieces, fc_path_gemm_mixed, fc_path_gemm_dx_pieces, fc_path_gemm_dx_row_pieces,
    fc_path_gemm_dx_mixed, fc_path_gemm_together_pixels, fc_path_gemm_together_channels;

/* Gathered GEMMs of dw. */
extern const fc_path fc_path_gemm_dw_few_sums, fc_path_gemm_dw_mixed, fc_path_gemm_dw_by_tap,
    fc_path_gemm_dw_first_by_tap, fc_path_gemm_dw_by_block;

/* Recomputes those elements of dx that are NaN and beside which dy ends. An algorithm that takes
 * dy as zero outside its bounds needs it when w is not finite: 0 * inf has no place in that sum. */
void fc_naive_repair_edges(const fc_conv_problem *p, const fc_arrays *a, fc_run *r);

/* dw of channels of one group by the defining sums; `interrupted` as a run within another may ask. */
fc_status fc_naive_weights(const fc_conv_problem *p, const fc_arrays *a, fc_question interrupted);

/* dw and db of an empty batch. */
void fc_conv_clear_gradients(const fc_conv_problem *p, const fc_arrays *a);

#endif
