/* The paths of pools. */
#ifndef FC_POOL_H
#define FC_POOL_H

#include "../path.h"

extern const fc_path fc_path_pool_lines, fc_path_pool_whole, fc_path_pool_windows, fc_path_pool_rows;
extern const fc_path fc_path_pool_backward_whole, fc_path_pool_backward_windows, fc_path_pool_backward_rows;
extern const fc_path fc_path_scatter;

#endif
