/* What all files of the room share: the arrangements, and the correlations that one of them runs. */
#ifndef FC_DIRECT_SHARED_H
#define FC_DIRECT_SHARED_H

#include "../../tuning.h"
#include "../correlations.h"

/* How sums are arranged, in order of preference: fc_path.variant. */
typedef enum {
    FC_DIRECT_CHANNELS,   /* channels lie side by side, one a group: they are the vector, over padded copies of bands */
    FC_DIRECT_NARROW,     /* two lines of a narrow plane are the vector, where they lie */
    FC_DIRECT_TRANSPOSED, /* channels are the vector, to which small planes are transposed, and back */
    FC_DIRECT_IN_PLACE,   /* pixels of a line are the vector, where they lie */
    FC_DIRECT_COPIES,     /* pixels of a line are the vector, over padded copies of bands */
    FC_DIRECT_MIXED,      /* each correlation of the problem has the first of these that suits it */
} fc_direct_arrangement;

/* Elements between one group's arrays and the next one's. */
typedef struct {
    ptrdiff_t count, x, w, y;
} fc_groups;

/* A correlation of all groups, or several that run together, whose targets differ by their residues of the stride. */
typedef struct {
    fc_conv_job *conv; /* its arrays are NULL in a plan */
    fc_groups groups;
    int lines, residues;                     /* residues along the height, and of each along the width */
    int interleaved;                         /* of a line they are all those of the stride: outputs take turns */
    fc_correlation residue[FC_MAX_RESIDUES]; /* [line][residue], in the order of their targets */
} fc_direct_job;

static inline int fc_direct_count(const fc_direct_job *job) { return job->lines * job->residues; }

#endif
