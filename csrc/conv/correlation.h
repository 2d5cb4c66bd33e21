/* The form to which forward and backward data reduce: a correlation of planes with taps.
 *
 *   y[n, i, p, q] = bias[i] + sum over planes c and taps (s, t) of
 *                   w[i * w_out_channel + w_plane[c] + h.weight(s) + w.weight(t)]
 *                   * plane[n, c][p * h.stride + h.tap(s), q * w.stride + w.tap(t)]
 *
 * All of its geometry is offsets in elements, so that it can be planned before there are arrays. */
#ifndef FC_CORRELATION_H
#define FC_CORRELATION_H

#include "../geometry/block.h"

/* Correlations whose targets are the residues of one stride and which run together: at most so many. */
enum { FC_MAX_RESIDUES = 8 };

/* Weights arranged in panels of output channels, if `panel` is not 0. */
typedef struct {
    ptrdiff_t panel; /* channels */
    int finite;      /* no weight is infinite or NaN */
    char *weights;   /* [panel][term][channel of the panel] */
} fc_packed;

typedef struct {
    ptrdiff_t images, x_image, y_image; /* count; element strides */
    ptrdiff_t out_channels, w_out_channel, y_channel; /* count; element strides */
    ptrdiff_t planes;
    const ptrdiff_t *x_plane; /* image 0 of each plane, from x; FC_ZEROS: there is none */
    const ptrdiff_t *w_plane; /* each plane's weights, from w */
    fc_axis axis[2];          /* height, width */
    ptrdiff_t y_first;        /* its first output, from the beginning of y */
    int relu;
    int padding_counts; /* 0 * w is added where a tap lies outside: NaN if w is infinite */
    /* What a call binds; NULL in plans. w, bias and y begin with the correlation's own first element, x where its array
     * does. A correlation without a bias has none in calls either. */
    const char *x, *w, *bias;
    char *y;
    const fc_packed *packed; /* of w, or NULL */
} fc_correlation;

/* The adjoint in the weights of a correlation, whose w, bias and y it leaves alone:
 *
 *   dw[i, c, s, t] (+)= sum over n, p, q of dy[n, i, p, q] * plane[n, c][...],   db[i] (+)= sum of dy */
typedef struct {
    fc_correlation c;
    int has_dw, has_db; /* which of them are wanted */
    const char *dy;     /* what a call binds, NULL in plans; these begin as y, w and bias of the correlation */
    char *dw, *db;
} fc_weights_gradient;

/* Image 0 of a plane; NULL: zeros. */
static inline const char *fc_plane(const fc_correlation *c, ptrdiff_t plane, ptrdiff_t element_size) {
    return c->x_plane[plane] == FC_ZEROS ? NULL : c->x + c->x_plane[plane] * element_size;
}

/* Whether no plane lies in the padding. */
static inline int fc_has_all_planes(const fc_correlation *c) {
    for (ptrdiff_t i = 0; i < c->planes; i++)
        if (c->x_plane[i] == FC_ZEROS) return 0;
    return 1;
}

/* Offset in the weights that tap (s, t) adds. */
static inline ptrdiff_t fc_tap_weight(const fc_correlation *c, ptrdiff_t s, ptrdiff_t t) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    return h->weight + s * h->weight_step + w->weight + t * w->weight_step;
}

/* Whether the taps of a plane follow each other in the weights. */
static inline int fc_taps_are_in_order(const fc_correlation *c) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    return (w->taps == 1 || w->weight_step == 1) && (h->taps == 1 || h->weight_step == w->taps);
}

/* Whether all terms of an output channel do. */
static inline int fc_weights_are_in_order(const fc_correlation *c) {
    const ptrdiff_t taps = c->axis[0].taps * c->axis[1].taps;
    if (!fc_taps_are_in_order(c)) return 0;
    for (ptrdiff_t plane = 1; plane < c->planes; plane++)
        if (c->w_plane[plane] - c->w_plane[plane - 1] != taps) return 0;
    return 1;
}

/* `channels` of a correlation's output channels, from `first` on. */
static inline fc_correlation fc_channels_of(const fc_correlation *whole, ptrdiff_t size, ptrdiff_t first,
                                            ptrdiff_t channels) {
    fc_correlation c = *whole;
    if (channels == whole->out_channels) return c;
    c.out_channels = channels;
    c.packed = NULL;
    if (c.w) c.w += first * whole->w_out_channel * size;
    if (c.y) c.y += first * whole->y_channel * size;
    if (c.bias) c.bias += first * size;
    return c;
}

/* Whether the planes lie side by side in each position of the source. */
static inline int fc_are_adjacent(const fc_correlation *c) {
    if (c->planes == 1 || c->axis[1].source_stride < c->planes) return 0;
    for (ptrdiff_t i = 0; i < c->planes; i++)
        if (c->x_plane[i] == FC_ZEROS || c->x_plane[i] != c->x_plane[0] + i) return 0;
    return 1;
}

/* Writes or adds a sum to element `at` of dw or db; returns what is there then. */
static inline double fc_put_gradient(ptrdiff_t element_size, void *array, ptrdiff_t at, double sum, int accumulate) {
    if (element_size == 4) {
        float *target = (float *)array + at;
        return *target = (float)(accumulate ? *target + sum : sum);
    }
    double *target = (double *)array + at;
    return *target = accumulate ? *target + sum : sum;
}

#endif
