/* What direct.c, copies.c and weights.c share. */
#ifndef FC_CONV_DIRECT_H
#define FC_CONV_DIRECT_H

#include "../../geometry/block.h"
#include "../correlations.h"

/* Channels that are transposed together where they lie side by side. */
enum { FC_SIDE_BY_SIDE = 16 };

/* Elements between one group's arrays and the next one's. */
typedef struct {
    ptrdiff_t count, x, w, y;
} fc_groups;

/* How a correlation of all groups is cut: a unit is a band of outputs of an image, of `together` groups,
 * whose planes are copied with their padding. */
typedef struct {
    const fc_kernels *kernels;
    ptrdiff_t size;
    const fc_correlation *c;
    fc_groups groups;
    int by_channel;   /* the vector holds groups of one channel, else pixels of a row */
    int blocked;      /* axis along which outputs of a register tile stand */
    ptrdiff_t together, bundles; /* groups of a bundle, whole vectors if by_channel; bundles */
    fc_blocks blocks; /* of one image each */
    ptrdiff_t copy;   /* bytes of a unit's copies, and of what may be read beyond them */
    ptrdiff_t tap_step; /* of the blocked axis: elements of the copy */
    ptrdiff_t lowest;   /* its tap that reads the lowest position */
    ptrdiff_t others;   /* taps of the other axis, of all planes */
    int planar;         /* by_channel, though channels are planes: transposed on the way in and out */
    ptrdiff_t gather;   /* bytes in the copies before the transposed planes */
    int spread;         /* planes lie side by side, and are transposed into copies of their own */
    /* If all units have the same padding, which is then written once: what else is copied of a plane. */
    int parts;
    struct {
        fc_padded_lines rows;
        ptrdiff_t source, target; /* elements from the beginning */
    } part[FC_MAX_RESIDUES];
} fc_direct_plan;

/* Of one of so many residues; cut like another plan if that is not NULL. */
fc_direct_plan fc_plan_direct(const fc_kernels *kernels, ptrdiff_t size, const fc_correlation *c,
                              const fc_groups *groups, int residues, const fc_direct_plan *like);

/* Offsets of the others: in a group's copies, and in its weights. */
void fc_direct_tables(const fc_direct_plan *p, ptrdiff_t *other_x, ptrdiff_t *other_w);

/* Elements between the copies of groups. */
static inline ptrdiff_t fc_direct_group_copy(const fc_direct_plan *p) {
    return p->c->planes * p->blocks.plane_stride;
}

/* A unit, in the order in which lines of x are best used. */
typedef struct {
    ptrdiff_t bundle, band, bands;
    ptrdiff_t group, groups; /* the bundle's */
    fc_block block;
} fc_direct_place;

ptrdiff_t fc_direct_units(const fc_direct_plan *p);
fc_direct_place fc_direct_find(const fc_direct_plan *p, ptrdiff_t unit);
void fc_direct_next(const fc_direct_plan *p, fc_direct_place *place);

/* Copies the planes of the place's groups; the copies were zeros before the first call. */
void fc_direct_fill(const fc_direct_plan *p, const fc_direct_place *place, char *copy);

/* Without copies: whether planes can be read where they lie; the geometry of a line of residues; pointers that its
 * table holds. */
int fc_direct_lines_fit(const fc_kernels *kernels, const fc_correlation *c);
int fc_direct_is_narrow(const fc_kernels *kernels, const fc_correlation *c); /* for kernels->direct_narrow */
fc_direct_lines fc_direct_lines_of(const fc_correlation *residue, int residues);
static inline ptrdiff_t fc_direct_lines_entries(const fc_direct_lines *d) {
    return d->planes * FC_DIRECT_BLOCK * (d->taps + 1);
}

/* Sums all groups if their planes can be read where they lie, of residues in the order of their targets; whether they
 * can. What it allocates. */
int fc_direct_in_place(fc_conv_job *j, const fc_correlation *residue, int lines, int residues, const fc_groups *groups);
size_t fc_direct_in_place_room(fc_conv_job *j, const fc_correlation *c, const fc_groups *groups);

/* dw and db of all groups; `last`: nothing will be added. */
void fc_direct_weights(fc_conv_job *j, const fc_weights_gradient *gradient, const fc_groups *groups, int accumulate,
                       int last);

#endif
