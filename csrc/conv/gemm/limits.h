/* What no path of this room can do. */
#ifndef FC_GEMM_LIMITS_H
#define FC_GEMM_LIMITS_H

#include "../../fastconv.h"

/* Why, as a sentence without a full stop; NULL: nothing is against it. */
const char *fc_gemm_refusal(fc_op op, const fc_conv_problem *p);

#endif
