/* One spatial axis of a gather: which source positions the taps of an output read.
 *
 * Output o reads, for tap t, source position o * stride + tap + t * tap_step; positions outside
 * 0..size-1 are zeros. A block of the axis is copied as residues: residue f holds the positions
 * origin(f) + z * stride, so that tap t of output o is element o + shift(t) of residue(t): whatever
 * the stride, consecutive outputs read consecutive elements. */
#ifndef FC_AXIS_H
#define FC_AXIS_H

#include <stddef.h>

typedef struct {
    ptrdiff_t size;          /* of the source */
    ptrdiff_t source_stride; /* elements between its positions */
    ptrdiff_t outputs;
    ptrdiff_t target_stride; /* elements between outputs where they are written */
    ptrdiff_t stride;        /* source positions between outputs */
    ptrdiff_t taps;
    ptrdiff_t tap, tap_step;       /* source position of tap 0 for output 0, and between taps */
    ptrdiff_t weight, weight_step; /* elements: tap 0 in the weights, and between taps */
} fc_axis;

typedef struct {
    ptrdiff_t residues;
    ptrdiff_t advance; /* elements between outputs: 1, or the stride if there is one residue of all */
    ptrdiff_t reach;   /* largest shift: a residue of n outputs has (n - 1) * advance + 1 + reach elements */
    int one_per_tap;  /* taps share no residue */
    ptrdiff_t stride; /* of the axis */
    ptrdiff_t first;  /* lowest source position of output 0 */
    ptrdiff_t step;   /* between taps, not negative, the taps counted from the lowest */
    ptrdiff_t period; /* taps so many apart have the same residue */
    ptrdiff_t last_tap;
    int reversed;
    ptrdiff_t shift; /* of the lowest tap */
} fc_residues;

/* Splits for blocks of about `count` outputs. Taps further apart than a block is long get a residue
 * each, so that no block copies more than about its own length a tap. */
fc_residues fc_split_axis(const fc_axis *axis, ptrdiff_t count);

/* One residue that holds all positions, where outputs need not be neighbours; a split where that would
 * copy positions that no tap reads. */
fc_residues fc_whole_axis(const fc_axis *axis, ptrdiff_t count);

/* A residue for each tap, whatever their distances: as long as the outputs. */
fc_residues fc_taps_apart(const fc_axis *axis);

/* The taps of `axis`, of stride 1, in the one residue of another axis, of stride 1, whose taps are every position that
 * they read. */
fc_residues fc_taps_within(const fc_residues *residue, const fc_axis *axis);

/* Elements of a residue of `count` outputs. */
ptrdiff_t fc_residue_length(const fc_residues *residues, ptrdiff_t count);

ptrdiff_t fc_residue_of_tap(const fc_residues *residues, ptrdiff_t tap);
ptrdiff_t fc_shift_of_tap(const fc_residues *residues, ptrdiff_t tap);

/* Source position of element 0 of a residue, for output 0. */
ptrdiff_t fc_residue_origin(const fc_residues *residues, ptrdiff_t residue);

/* Elements z of [0, count) with 0 <= origin + z * stride < size: [*first, *last). */
void fc_find_inside(ptrdiff_t origin, ptrdiff_t stride, ptrdiff_t size, ptrdiff_t count, ptrdiff_t *first,
                    ptrdiff_t *last);

/* Taps [first, last) of an output that read the source. */
typedef struct {
    ptrdiff_t first, last;
} fc_taps_inside;

fc_taps_inside fc_inside(const fc_axis *axis, ptrdiff_t output);

/* Share of an axis' taps that lie inside, over all outputs; and, unless `runs` is NULL, how many runs of
 * outputs there are that have the same ones. */
double fc_share_inside(const fc_axis *axis, ptrdiff_t *runs);

/* The output after those from `output` on whose taps inside are the same, at most `end`. */
ptrdiff_t fc_end_of_alike(const fc_axis *axis, ptrdiff_t output, ptrdiff_t end);

#endif
