/* One spatial axis of a gather: which source positions the taps of an output read.
 *
 * Output o reads, for tap t, source position o * stride + tap + t * tap_step; positions outside
 * 0..size-1 are zeros. A block of the axis is copied as phases: phase f holds the positions
 * origin(f) + z * stride, so that tap t of output o is element o + shift(t) of phase(t): whatever
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
    ptrdiff_t phases;
    ptrdiff_t advance; /* elements between outputs: 1, or the stride if there is one phase of all */
    ptrdiff_t reach;   /* largest shift: a phase of n outputs has (n - 1) * advance + 1 + reach elements */
    int one_per_tap;  /* taps share no phase */
    ptrdiff_t stride; /* of the axis */
    ptrdiff_t first;  /* lowest source position of output 0 */
    ptrdiff_t step;   /* between taps, not negative, the taps counted from the lowest */
    ptrdiff_t period; /* taps so many apart have the same phase */
    ptrdiff_t last_tap;
    int reversed;
    ptrdiff_t shift; /* of the lowest tap */
} fc_phases;

/* Splits for blocks of about `count` outputs. Taps further apart than a block is long get a phase
 * each, so that no block copies more than about its own length a tap. */
fc_phases fc_split_axis(const fc_axis *axis, ptrdiff_t count);

/* One phase that holds all positions, where outputs need not be neighbours; a split where that would
 * copy positions that no tap reads. */
fc_phases fc_whole_axis(const fc_axis *axis, ptrdiff_t count);

/* A phase for each tap, whatever their distances: as long as the outputs. */
fc_phases fc_taps_apart(const fc_axis *axis);

/* The taps of `axis`, of stride 1, in the one phase of another axis, of stride 1, whose taps are every position that
 * they read. */
fc_phases fc_taps_within(const fc_phases *phase, const fc_axis *axis);

/* Elements of a phase of `count` outputs. */
ptrdiff_t fc_phase_length(const fc_phases *phases, ptrdiff_t count);

ptrdiff_t fc_phase_of_tap(const fc_phases *phases, ptrdiff_t tap);
ptrdiff_t fc_shift_of_tap(const fc_phases *phases, ptrdiff_t tap);

/* Source position of element 0 of a phase, for output 0. */
ptrdiff_t fc_phase_origin(const fc_phases *phases, ptrdiff_t phase);

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
