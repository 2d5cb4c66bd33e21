/* What Winograd's paths refuse, what speaks against them, what they cost: choice.c. A path's variant is its shape. */
#ifndef FC_CONV_WINOGRAD_CHOICE_H
#define FC_CONV_WINOGRAD_CHOICE_H

#include "shared.h"

const char *fc_winograd_refuses(const fc_path *path, fc_op op, const fc_problem *problem);

/* Why the other tiles of 3x3 kernels are to be taken. */
const char *fc_winograd_doubts_path(const fc_path *path, fc_op op, const fc_problem *problem);

/* Why gathered GEMMs are to be taken. */
const char *fc_winograd_doubts(fc_op op, const fc_problem *problem);

double fc_winograd_cycles(const fc_path *path, fc_op op, const fc_problem *problem);

#endif
