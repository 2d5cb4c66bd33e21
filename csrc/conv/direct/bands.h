/* y and dx over padded copies of bands (kernels of direct.h). Threads share units of copies.h. */
#ifndef FC_DIRECT_BANDS_H
#define FC_DIRECT_BANDS_H

#include "copies.h"

typedef struct {
    int lines, residues;
    int interleaved;    /* residues take turns in the lines of y, which are stored whole */
    int to_y;           /* sums go straight to y, else to lines that are stored when they are complete */
    ptrdiff_t copy;     /* bytes of a unit's copies for one residue */
    ptrdiff_t copies;   /* 2: small ones are filled a unit ahead, since loads wait for fresh stores */
    ptrdiff_t others;   /* of a residue, at most */
    ptrdiff_t units, tasks;
    size_t copy_bytes, table_bytes, line_bytes;  /* of a task's scratch: copies, tables, lines on their way to y */
    ptrdiff_t line_pitch[2], residue_pitch;      /* elements: these lines are [channel][line][residue][column] */
    ptrdiff_t packed[FC_MAX_RESIDUES + 1];       /* elements before each residue's weights; of a vector's */
    size_t weight_bytes, bias_bytes, list_bytes; /* by channel: of all that is packed; of lists meanwhile */
    const fc_direct_layout *largest;             /* whose plane has the most outputs */
    fc_direct_layout layout[];                   /* [line][residue] */
} fc_direct_bands;

/* For correlations that FC_DIRECT_CHANNELS, _TRANSPOSED or _COPIES does not refuse; NULL if there is no memory. */
fc_direct_bands *fc_direct_plan_bands(fc_plan *plan, const fc_direct_job *job, fc_direct_arrangement arrangement);
void fc_direct_run_bands(const fc_direct_bands *stage, const fc_direct_job *job);
void fc_direct_describe_bands(const fc_direct_bands *stage, fc_description *d);

#endif
