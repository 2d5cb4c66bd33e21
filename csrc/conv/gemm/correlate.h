/* The form to which forward and backward data reduce: a correlation of planes with taps.
 *
 *   y[n, i, p, q] = bias[i] + sum over planes c and taps (s, t) of
 *                   w[i * w_row + w_plane[c] + h.weight(s) + w.weight(t)]
 *                   * plane[n, c][p * h.stride + h.tap(s), q * w.stride + w.tap(t)]
 *
 * Every term of the sum is an offset into the planes, where they lie or in padded copies of blocks of
 * them, and an offset into the weights: gemm.tmpl.h gathers both. */
#ifndef FC_CORRELATE_H
#define FC_CORRELATE_H

#include "../../kernels/kernels.h"
#include "../../geometry/axis.h"
#include "../../platform/threads.h"

/* Weights arranged in panels of output channels, if `panel` is not 0. */
typedef struct {
    ptrdiff_t panel; /* channels */
    int finite;      /* no weight is infinite or NaN */
    char *weights;   /* [panel][term][channel of the panel] */
} fc_packed;

typedef struct {
    ptrdiff_t images, x_image, y_image; /* count; element strides */
    ptrdiff_t rows, w_row, y_row;       /* output channels; element strides */
    ptrdiff_t planes;
    const void *const *x_plane; /* image 0 of each plane; NULL is zeros */
    const ptrdiff_t *w_plane;
    fc_axis axis[2]; /* height, width */
    const void *w, *bias;
    const fc_packed *packed; /* of w, or NULL */
    void *y;
    int relu;
    int padding_counts; /* 0 * w is added where a tap lies outside: NaN if w is infinite */
} fc_correlation;

/* Whether the planes lie side by side in each position of the source. */
int fc_are_adjacent(const fc_correlation *correlation, ptrdiff_t element_size);

/* Failures are in run->status. The result does not depend on the number of threads. */
void fc_correlate(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                  const fc_correlation *correlation);

/* The same of several that differ in their outputs, taps and weights alone, as the residues of a stride of dx do.
 * Where they read copies of planes, all read the same ones: dx with stride 2 took 0.65 to 0.95 of the time. */
enum { FC_MAX_RESIDUES = 8 };
void fc_correlate_residues(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                           const fc_correlation *residue, int residues);

/* Arranges the weights as fc_correlate would, if it would; fc_scratch_release releases packed->weights. */
void fc_pack_weights(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                     const fc_correlation *correlation, fc_packed *packed);

/* Says what fc_correlate will do, in up to `length` characters; returns the bytes that it allocates,
 * those of the weights in *packed_bytes. */
size_t fc_describe_correlation(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                               const fc_correlation *correlation, char *how, size_t length,
                               size_t *packed_bytes);

/* The adjoint in the weights: reads y (= dy), writes or adds to w (= dw), and to bias (= db).
 *
 *   dw[i, c, s, t] (+)= sum over n, p, q of dy[n, i, p, q] * plane[n, c][...],   db[i] (+)= sum of dy
 *
 * w or bias may be NULL. */
void fc_correlate_weights(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                          const fc_correlation *correlation, int accumulate);

/* The same with pixels in the vector, where that is quicker; returns whether nothing is left to do. */
int fc_correlate_weights_by_pixels(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                                   const fc_correlation *correlation, int accumulate);

/* Writes or adds a sum to element `at` of dw or db, an array that fc_correlation has as const; returns what is there
 * then. */
static inline double fc_put_gradient(ptrdiff_t element_size, const void *array, ptrdiff_t at, double sum,
                                     int accumulate) {
    if (element_size == 4) {
        float *target = (float *)array + at;
        return *target = (float)(accumulate ? *target + sum : sum);
    }
    double *target = (double *)array + at;
    return *target = accumulate ? *target + sum : sum;
}

#endif
