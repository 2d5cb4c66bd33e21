/* All that Cython sees: status codes, the problem, the entry points.
 *
 * Letters: N batch, C input channels, K output channels, G groups, D H W input size, R S kernel
 * height and width, P Q output height and width. One- and two-dimensional problems are
 * three-dimensional ones whose leading axes have size 1. All sizes and strides are in elements;
 * a layout is nothing but strides.
 *
 * Contract: fastconv/_problem.py has checked every field. Sizes are at least 1 except the batch,
 * no index overflows ptrdiff_t, pointers are aligned to their element. */
#ifndef FC_FASTCONV_H
#define FC_FASTCONV_H

#include <stddef.h>

typedef enum {
    FC_OK = 0,
    FC_NO_MEMORY, /* an allocation failed; outputs are undefined, nothing is leaked */
    FC_INTERRUPTED, /* the caller's interrupted() said so; outputs are undefined */
    FC_FORKED, /* a signal handler forked during the call, and this is the child */
    FC_REFUSED,   /* the algorithm cannot do the problem: fc_conv_refusal says why */
} fc_status;

typedef enum { FC_FLOAT32, FC_FLOAT64 } fc_dtype;

typedef enum { FC_FORWARD, FC_BACKWARD_DATA, FC_BACKWARD_WEIGHTS } fc_conv_op;

/* y[n, k, o] = b[k] + sum over c, t of x[n, c, o * stride - pad + t * dilation] * w[k, c, t],
 * x taken as zero outside its bounds: a padded zero takes part in the sum, so 0 * inf is NaN. */
typedef struct {
    fc_dtype dtype;
    int isa;     /* index into fc_isa_name */
    int threads; /* at most so many; results do not depend on it */
    int (*interrupted)(void); /* asked now and then on the calling thread; may be NULL */
    int accurate; /* unasked, only algorithms with the error of direct sums */
    int relu; /* forward: y = max(y, 0), NaN kept */
    ptrdiff_t batch, groups;
    ptrdiff_t in_channels, out_channels; /* of all groups together */
    ptrdiff_t in_size[3], kernel[3], out_size[3];
    ptrdiff_t stride[3], dilation[3], pad[3]; /* pad: before the data; what follows is implied */
    ptrdiff_t x_strides[5];                   /* n, c, d, h, w; also dx */
    ptrdiff_t w_strides[5];                   /* k, c of the group, t_d, t_h, t_w; also dw */
    ptrdiff_t y_strides[5];                   /* n, k, p_d, p_h, p_w; also dy */
} fc_conv_problem;

/* Weights arranged for forward calls of one problem and instruction set. */
typedef struct fc_conv_weights fc_conv_weights;

/* The arrays of one call; those an op does not name are NULL.
 * forward: reads x, w, b (or NULL), writes y. backward data: reads y (= dy), w, b (or NULL; added to
 * the channels of dx, which is then a transposed convolution), writes x (= dx).
 * backward weights: reads y (= dy), x, writes w (= dw) and b (= db), either of which may be NULL. */
typedef struct {
    void *x, *w, *b, *y;
    const fc_conv_weights *prepared; /* forward: of this w, or NULL */
} fc_conv_arrays;

/* Name of the instruction set at `index` >= 0, best first, NULL after the last. */
const char *fc_isa_name(int index);
/* Whether this processor and its operating system have it. The last one always is. */
int fc_isa_available(int index);

/* Name of the algorithm at `index` >= 0 in order of preference, NULL after the last. */
const char *fc_conv_algorithm_name(int index);

/* Why `algorithm` cannot do the problem, as a sentence without a full stop; NULL if it can. */
const char *fc_conv_refusal(fc_conv_op op, const char *algorithm, const fc_conv_problem *problem);

/* Runs the named algorithm, or the first that suits the problem if `algorithm` is NULL. */
fc_status fc_conv_run(fc_conv_op op, const char *algorithm, const fc_conv_problem *problem,
                      const fc_conv_arrays *arrays);

/* Arranges w for calls of this problem, whose arrays may have other addresses and, to less use, other
 * strides. `weights` is set to NULL where the algorithm has nothing to arrange. */
fc_status fc_conv_prepare(const char *algorithm, const fc_conv_problem *problem,
                          const fc_conv_arrays *arrays, fc_conv_weights **weights);
void fc_conv_free_weights(fc_conv_weights *weights);

/* What a forward call will do: a sentence without a full stop, and the bytes of blocks and tables that
 * it allocates, on all threads together. */
typedef struct {
    const char *algorithm;
    char how[320];
    size_t workspace;
    size_t packed; /* beside these, for weights, unless they are prepared */
} fc_conv_description;

void fc_conv_describe(const char *algorithm, const fc_conv_problem *problem,
                      fc_conv_description *description);

/* The elements of the arrays that are pooled: exact in float, or, the last three, in double. */
typedef enum {
    FC_UINT8,
    FC_INT8,
    FC_UINT16,
    FC_INT16,
    FC_ELEMENT_FLOAT32,
    FC_UINT32,
    FC_INT32,
    FC_ELEMENT_FLOAT64,
} fc_element;

typedef enum { FC_MAX_POOL, FC_AVG_POOL } fc_pool_op;

/* Output o of an axis sees positions o * stride - pad + t * dilation, t < kernel, that lie on the data;
 * if adaptive, floor(o * in / out) to ceil((o + 1) * in / out) - 1; then dilation is 1, pad 0. Arrays are
 * contiguous. */
typedef struct {
    fc_element element;
    int isa, threads;
    int (*interrupted)(void);
    int channels_last, adaptive;
    ptrdiff_t batch, channels;
    ptrdiff_t in_size[3], kernel[3], out_size[3];
    ptrdiff_t stride[3], dilation[3], pad[3], pad_after[3];
    double divisor;        /* average: of every window, or 0: the positions that count */
    int count_include_pad; /* ... those in the padded input, or on the data */
} fc_pool_problem;

/* y and indices, or y, of x. FC_REFUSED: planes of 2**31 elements and more, or rows so far apart that the
 * workspace would pass 16 MiB. */
fc_status fc_pool_forward(fc_pool_op op, const fc_pool_problem *problem, const void *x, void *y,
                          long long *indices);
/* dx of an average of dy: float32 or float64, dilation 1. FC_REFUSED as above. */
fc_status fc_avg_pool_backward(const fc_pool_problem *problem, const void *dy, void *dx);

/* dx[n, c, indices[n, c, i]] = or += dy[n, c, i], i < count, float32 or float64; zeros elsewhere.
 * FC_REFUSED: an index is not in 0 ... plane - 1; then dx is undefined. */
typedef struct {
    fc_dtype dtype;
    int isa, threads;
    int (*interrupted)(void);
    int channels_last, add;
    ptrdiff_t batch, channels, count, plane;
} fc_scatter_problem;

fc_status fc_scatter(const fc_scatter_problem *problem, const void *dy, const long long *indices,
                     void *dx);

/* cols[n, (c * taps + t), o] = x[n, c, o * stride - pad + t * dilation], zero outside; arrays are contiguous,
 * channels first; elements of 4 or 8 bytes. */
typedef struct {
    fc_dtype dtype;
    int isa, threads;
    int (*interrupted)(void);
    ptrdiff_t batch, channels;
    ptrdiff_t in_size[3], kernel[3], out_size[3];
    ptrdiff_t stride[3], dilation[3], pad[3];
} fc_columns_problem;

fc_status fc_im2col(const fc_columns_problem *problem, const void *x, void *cols);
/* The adjoint: x is overwritten by the sums, tap after tap. */
fc_status fc_col2im(const fc_columns_problem *problem, const void *cols, void *x);

/* x: [outer][channels][inner], contiguous; statistics of each channel in double. */
typedef struct {
    fc_dtype dtype;
    int isa, threads;
    int (*interrupted)(void);
    ptrdiff_t outer, channels, inner;
} fc_norm_problem;

/* mean[c] and the sum of the squared differences from it; of the first two, sizes are at least 1. */
fc_status fc_moments(const fc_norm_problem *problem, const void *x, double *mean, double *squares);
/* sum of dy, and of dy * (x - mean[c]). */
fc_status fc_norm_sums(const fc_norm_problem *problem, const void *dy, const void *x,
                       const double *mean, double *sum, double *product);
/* dbeta = sum of dy, dgamma = inv_std * sum of dy * (x - mean), and
 * dx = gamma * inv_std * (dy - (dbeta + dgamma * inv_std * (x - mean)) / count); sizes are at least 1. */
fc_status fc_norm_backward(const fc_norm_problem *problem, const void *dy, const void *x, const double *mean,
                           const double *inv_std, const double *gamma, double *dgamma, double *dbeta,
                           void *dx);
/* y = a[c] * (x - mean[c]) + b[c] + d[c] * dy; dy and d may be NULL. */
fc_status fc_norm_apply(const fc_norm_problem *problem, const void *x, const double *mean, const double *a,
                        const double *b, const void *dy, const double *d, void *y);

/* y of x; with dy not NULL the gradient dx, x being what the forward returned.
 * ReLU: max(x, 0), NaN kept; dy where x > 0, else 0. Sigmoid: 1 / (1 + exp(-x)); dy * x * (1 - x). */
typedef enum { FC_RELU, FC_SIGMOID } fc_activation;

typedef struct {
    fc_activation activation;
    fc_dtype dtype;
    int isa, threads;
    int (*interrupted)(void);
    ptrdiff_t count;
} fc_activation_problem;

fc_status fc_activate(const fc_activation_problem *problem, const void *x, const void *dy, void *y);

/* loss = mean over n of -log softmax(scores[n])[labels[n]], scores [batch][classes]; gradient: in scores.
 * Sizes are at least 1. FC_REFUSED: a label is not in 0 ... classes - 1. */
typedef struct {
    fc_dtype dtype;
    int isa, threads;
    int (*interrupted)(void);
    ptrdiff_t batch, classes;
} fc_softmax_problem;

fc_status fc_softmax_cross_entropy(const fc_softmax_problem *problem, const void *scores,
                                   const long long *labels, double *loss, void *gradient);

/* Of a fully connected layer: y or dy [rows][cols], sizes at least 1. */
typedef struct {
    fc_dtype dtype;
    int isa, threads;
    int (*interrupted)(void);
    ptrdiff_t rows, cols;
} fc_affine_problem;

/* y[i][j] += bias[j]. */
fc_status fc_add_bias(const fc_affine_problem *problem, const void *bias, void *y);
/* sums[j] = sum over i of dy[i][j]. */
fc_status fc_sum_rows(const fc_affine_problem *problem, const void *dy, double *sums);

/* How many threads a call may use that does not say otherwise. By these two names and through its
 * own loader threadpoolctl finds the setting; they are the only exported ones. */
int fastconv_get_num_threads(void);
void fastconv_set_num_threads(int count);

#endif
