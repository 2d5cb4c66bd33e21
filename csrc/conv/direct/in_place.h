/* y and dx of planes that are read where they lie (kernels of direct_lines.h and direct_narrow.h, where the instruction
 * set masks loads). Threads share images, groups and bands of lines. */
#ifndef FC_DIRECT_IN_PLACE_H
#define FC_DIRECT_IN_PLACE_H

#include "../../path.h"
#include "shared.h"

/* The geometry of a line of residues; a call has to add w_plane, and if planes are not narrow zeros and a table. */
fc_direct_lines fc_direct_lines_of(const fc_correlation *residue, int residues);

/* Whether lines of outputs are so long, and arrays so large, that what is read next should be fetched. */
int fc_direct_fetches(const fc_direct_job *job, ptrdiff_t width);

/* Pointers that its table holds. */
static inline ptrdiff_t fc_direct_lines_entries(const fc_direct_lines *lines) {
    return lines->planes * FC_DIRECT_BLOCK * (lines->taps + 1);
}

typedef struct {
    int residues, lines;    /* of these each has its geometry */
    int pairs;              /* two output channels share what is loaded of x */
    int narrow;             /* units are images and runs of groups, else bands of a plane of outputs of one group */
    ptrdiff_t images, runs; /* narrow: images of a unit; runs of groups */
    ptrdiff_t run;          /* ... and groups of one */
    ptrdiff_t band_lines, bands;
    ptrdiff_t units, tasks;
    size_t zeros_bytes, table_bytes, planes_bytes; /* of a task's scratch */
    fc_direct_lines geometry[];
} fc_direct_in_place;

/* For correlations that FC_DIRECT_NARROW or FC_DIRECT_IN_PLACE does not refuse; NULL if there is no memory. */
fc_direct_in_place *fc_direct_plan_in_place(fc_plan *plan, const fc_direct_job *job, fc_direct_arrangement arrangement);
void fc_direct_run_in_place(const fc_direct_in_place *stage, const fc_direct_job *job);
void fc_direct_describe_in_place(const fc_direct_in_place *stage, const fc_kernels *kernels, fc_description *d);

#endif
