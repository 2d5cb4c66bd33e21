/* dw and db of few channels a group: lanes of sums over the bands of an image, added to totals in double after so many
 * terms. Threads share the groups or, where there are few bundles of them, chunks of the images, which are cut and
 * combined alike at any number of threads. */
#ifndef FC_DIRECT_WEIGHTS_H
#define FC_DIRECT_WEIGHTS_H

#include "copies.h"

typedef struct {
    fc_direct_layout layout; /* in place, too, planes are taken in such bands */
    int in_place;            /* neither x nor dy is copied */
    int narrow;              /* ... and planes are narrow */
    fc_direct_lines lines;   /* in place: the geometry of a plane */
    int one_line;            /* of outputs: its vectors are blocked, not lines */
    ptrdiff_t together, bundles; /* groups of a bundle; bundles */
    ptrdiff_t taps;          /* of the blocked axis */
    ptrdiff_t sums;          /* of an output channel: those of dw, and of db */
    ptrdiff_t elements;      /* of the lanes of all sums of a bundle */
    ptrdiff_t dy_size[2];    /* lines and columns of the copy of dy, in positions */
    ptrdiff_t chunks, tasks;
} fc_direct_weights;

/* For the correlation of dw that `arrangement` does not refuse, but FC_DIRECT_MIXED; NULL if there is no memory. */
fc_direct_weights *fc_direct_plan_weights(fc_plan *plan, const fc_direct_job *job, fc_direct_arrangement arrangement);

/* dw and db of all groups of the gradient, whose job and stage these are. They are written or, if `accumulate`, added
 * to what is there; if `last`, nothing will be added: groups with sums that are NaN though dy is not, since zeros
 * beside dy met x, are done again by the defining sums. */
void fc_direct_run_weights(const fc_direct_weights *stage, const fc_direct_job *job,
                           const fc_weights_gradient *gradient, int accumulate, int last);

void fc_direct_describe_weights(const fc_direct_weights *stage, fc_description *d);

#endif
