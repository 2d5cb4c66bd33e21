/* The paths of convolutions, whose order of preference is in plan.c. */
#ifndef FC_CONV_ALGORITHM_H
#define FC_CONV_ALGORITHM_H

#include "../path.h"
#include "../platform/threads.h"

extern const fc_path fc_path_fully_connected, fc_path_winograd, fc_path_implicit_gemm, fc_path_naive;
extern const fc_path fc_path_direct_channels, fc_path_direct_narrow, fc_path_direct_transposed, fc_path_direct_in_place,
    fc_path_direct_copies, fc_path_direct_mixed;

/* Recomputes those elements of dx that are NaN and beside which dy ends. An algorithm that takes
 * dy as zero outside its bounds needs it when w is not finite: 0 * inf has no place in that sum. */
void fc_naive_repair_edges(const fc_conv_problem *p, const fc_arrays *a, fc_run *r);

/* dw of channels of one group by the defining sums; `interrupted` as a run within another may ask. */
fc_status fc_naive_weights(const fc_conv_problem *p, const fc_arrays *a, fc_question interrupted);

/* dw and db of an empty batch. */
void fc_conv_clear_gradients(const fc_conv_problem *p, const fc_arrays *a);

#endif
