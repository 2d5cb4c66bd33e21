/* The correlations of a problem: those that are alike are of one kind, and share its stages. */
#ifndef FC_GEMM_KINDS_H
#define FC_GEMM_KINDS_H

#include "../correlations.h"
#include "stage.h"

/* How the correlations of a problem are run: all by one arrangement, or ... */
enum {
    FC_GEMM_MIXED = FC_GEMM_ARRANGEMENTS, /* each by what is estimated to take the fewest cycles */
    FC_GEMM_TOGETHER_PIXELS,              /* residues of a stride of dx from the same copies, by pixels */
    FC_GEMM_TOGETHER_CHANNELS,            /* ... by channels */
    FC_GEMM_VARIANTS,
};

typedef struct {
    int variant;
    ptrdiff_t count, capacity;
    fc_gemm_kind *kind; /* in memory of malloc */
    /* Arrangements that occur, a bit each: of residues that are summed together, of those that are not, and of
     * correlations that have no other residues. */
    unsigned together, apart, single;
    fc_gemm_shape one_by_one; /* the last residues that are not summed together */
    const char *refusal; /* why the variant cannot run some correlation, as a sentence without a full stop, or NULL */
    fc_status status;    /* FC_OK or FC_NO_MEMORY */
} fc_gemm_kinds;

/* The kinds of a problem of y or dx, of a batch that is not empty, with the stages that a variant gives them.
 * fc_gemm_forget releases them. */
fc_gemm_kinds fc_gemm_survey(fc_op op, const fc_conv_problem *problem, int variant);
void fc_gemm_forget(fc_gemm_kinds *kinds);

/* The one variant to which those of a FC_GEMM_MIXED survey come down. */
int fc_gemm_variant(const fc_gemm_kinds *kinds);

/* Estimate in cycles of one thread for so many groups. */
double fc_gemm_cycles(const fc_gemm_kinds *kinds, ptrdiff_t groups);

/* The kind of a correlation whose axes are merged, and of residues that are summed together, of which `all` is what any
 * reads; NULL: they are summed one by one. */
const fc_gemm_kind *fc_gemm_kind_of(const fc_gemm_kind *kinds, ptrdiff_t count, const fc_correlation *c);
const fc_gemm_kind *fc_gemm_kind_of_residues(const fc_gemm_kind *kinds, ptrdiff_t count, const fc_correlation *residue,
                                             int residues, fc_correlation *all);

#endif
