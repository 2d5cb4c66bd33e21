/* Padded copies of bands, over which the kernels of direct.h run: how a correlation is cut, and how a band is filled.
 *
 * A unit is a band of outputs of one image, of `together` groups, whose planes are copied with their padding. A layout
 * is made by fc_direct_start_layout and fc_direct_finish_layout, holds no addresses, and is alike in every call. */
#ifndef FC_DIRECT_COPIES_H
#define FC_DIRECT_COPIES_H

#include "../../path.h"
#include "shared.h"

/* The size of a unit. */
typedef struct {
    ptrdiff_t together;       /* groups of a bundle, whole vectors of them if channels are the vector */
    ptrdiff_t inner;          /* elements of a position of the copy: as many then, else 1 */
    ptrdiff_t lines, columns; /* outputs of a band */
} fc_direct_cut;

/* What is copied of a plane whose padding all units share. */
typedef struct {
    fc_padded_lines lines;
    ptrdiff_t source, target; /* elements from the beginning */
} fc_direct_piece;

typedef struct {
    const fc_kernels *kernels;
    ptrdiff_t size; /* bytes of an element */
    fc_groups groups;
    fc_axis axis[2];
    ptrdiff_t planes; /* of a group */
    int all_planes;   /* none lies in the padding */
    int by_channel;   /* the vector holds groups of one channel, else pixels of a line */
    int planar;       /* by_channel, though channels are planes: transposed on the way in and out */
    int spread;       /* planes lie side by side, and are transposed into copies of their own */
    int blocked;      /* axis along which outputs of a register tile stand */
    ptrdiff_t together, bundles; /* groups of a bundle; bundles */
    fc_blocks blocks; /* of one image each */
    ptrdiff_t copy;   /* bytes of a unit's copies, and of what may be read beyond them */
    ptrdiff_t gather; /* planar: bytes in the copies before the transposed planes */
    ptrdiff_t tap_step; /* of the blocked axis: elements of the copy */
    ptrdiff_t lowest;   /* its tap that reads the lowest position */
    ptrdiff_t others;   /* taps of the other axis, of all planes */
    int pieces;         /* if all units have the same padding, which then is written once */
    const fc_direct_piece *piece;
} fc_direct_layout;

/* The layout of a correlation of `job` for FC_DIRECT_CHANNELS, _TRANSPOSED or _COPIES, before it is cut. It must not be
 * moved afterwards. */
void fc_direct_start_layout(fc_direct_layout *layout, const fc_direct_job *job, const fc_correlation *c,
                            fc_direct_arrangement arrangement);

/* The largest unit whose copies fit. */
fc_direct_cut fc_direct_largest_cut(const fc_direct_layout *layout);

/* Cuts a layout that was started; whether there was memory for it in the plan. */
int fc_direct_finish_layout(fc_plan *plan, fc_direct_layout *layout, fc_direct_cut cut);

/* Offsets of the others: in a group's copies, and in the weights of c, whose layout it is. */
void fc_direct_tables(const fc_direct_layout *layout, const fc_correlation *c, ptrdiff_t *other_x, ptrdiff_t *other_w);

/* Elements between the copies of groups. */
static inline ptrdiff_t fc_direct_group_copy(const fc_direct_layout *layout) {
    return layout->planes * layout->blocks.plane_stride;
}

/* A unit, in the order in which lines of x are best used. */
typedef struct {
    ptrdiff_t bundle, band, bands;
    ptrdiff_t group, groups; /* the bundle's */
    fc_block block;
} fc_direct_place;

ptrdiff_t fc_direct_units(const fc_direct_layout *layout);
fc_direct_place fc_direct_find(const fc_direct_layout *layout, ptrdiff_t unit);
void fc_direct_next(const fc_direct_layout *layout, fc_direct_place *place);

/* Copies the planes of the place's groups of c, whose layout it is; the copies were zeros before the first call. */
void fc_direct_fill(const fc_direct_layout *layout, const fc_correlation *c, const fc_direct_place *place, char *copy);

#endif
