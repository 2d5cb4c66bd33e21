/* All that Cython sees: status codes, problems, plans, and the layers that need none.
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
    FC_NO_MEMORY,   /* an allocation failed; outputs are undefined, nothing is leaked */
    FC_INTERRUPTED, /* the caller's interrupted() said so; outputs are undefined */
    FC_FORKED,      /* a signal handler forked during the call, and this is the child */
    FC_REFUSED,     /* no path, or not the one that was asked for, can do the problem */
    FC_OUT_OF_RANGE, /* an index or a label is; outputs are undefined */
} fc_status;

typedef enum { FC_FLOAT32, FC_FLOAT64 } fc_dtype;

/* Asked now and then on the calling thread: whether to stop. */
typedef int (*fc_question)(void);

/* How a call runs: every problem begins with it. */
typedef struct {
    fc_dtype dtype;
    int isa;     /* index into fc_isa_name */
    int threads; /* at most so many; results do not depend on it */
    fc_question interrupted; /* NULL: nobody is asked; nor in problems of plans, whose runs are given it */
} fc_call;

/* y[n, k, o] = b[k] + sum over c, t of x[n, c, o * stride - pad + t * dilation] * w[k, c, t],
 * x taken as zero outside its bounds: a padded zero takes part in the sum, so 0 * inf is NaN. */
typedef struct {
    fc_call call;
    int accurate; /* unasked, only paths with the error of direct sums */
    int relu;     /* forward: y = max(y, 0), NaN kept */
    int has_w;    /* backward weights: dw is wanted */
    int has_b;    /* forward, backward data: a bias is added; backward weights: db is wanted */
    ptrdiff_t batch, groups;
    ptrdiff_t in_channels, out_channels; /* of all groups together */
    ptrdiff_t in_size[3], kernel[3], out_size[3];
    ptrdiff_t stride[3], dilation[3], pad[3]; /* pad: before the data; what follows is implied */
    ptrdiff_t x_strides[5];                   /* n, c, d, h, w; also dx, which has no gaps, as dw */
    ptrdiff_t w_strides[5];                   /* k, c of the group, t_d, t_h, t_w; also dw */
    ptrdiff_t y_strides[5];                   /* n, k, p_d, p_h, p_w; also dy */
} fc_conv_problem;

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

/* Output o of an axis sees positions o * stride - pad + t * dilation, t < kernel, that lie on the data;
 * if adaptive, floor(o * in / out) to ceil((o + 1) * in / out) - 1; then dilation is 1, pad 0. Arrays are
 * contiguous. */
typedef struct {
    fc_call call; /* its dtype is not read */
    fc_element element;
    int channels_last, adaptive;
    ptrdiff_t batch, channels;
    ptrdiff_t in_size[3], kernel[3], out_size[3];
    ptrdiff_t stride[3], dilation[3], pad[3], pad_after[3];
    double divisor;        /* average: of every window, or 0: the positions that count */
    int count_include_pad; /* ... those in the padded input, or on the data */
} fc_pool_problem;

/* dx[n, c, indices[n, c, i]] = or += dy[n, c, i], i < count, float32 or float64; zeros elsewhere.
 * FC_OUT_OF_RANGE: an index is not in 0 ... plane - 1. */
typedef struct {
    fc_call call;
    int channels_last, add;
    ptrdiff_t batch, channels, count, plane;
} fc_scatter_problem;

/* cols[n, (c * taps + t), o] = x[n, c, o * stride - pad + t * dilation], zero outside; arrays are contiguous,
 * channels first; elements of 4 or 8 bytes. */
typedef struct {
    fc_call call;
    ptrdiff_t batch, channels;
    ptrdiff_t in_size[3], kernel[3], out_size[3];
    ptrdiff_t stride[3], dilation[3], pad[3];
} fc_columns_problem;

/* ---- Plans ---- */

/* Operations that have plans, and the member of fc_problem that each reads. */
typedef enum {
    FC_FORWARD,           /* conv: reads x, w and b, if it has one; writes y */
    FC_BACKWARD_DATA,     /* conv: reads y (= dy), w and b, if it has one, which is added to the channels of dx as a
                           * transposed convolution adds it; writes x (= dx) */
    FC_BACKWARD_WEIGHTS,  /* conv: reads y (= dy) and x; writes w (= dw) and b (= db), those that it has */
    FC_MAX_POOL,          /* pool: reads x; writes y, and indices unless they are NULL */
    FC_AVG_POOL,          /* pool: reads x; writes y */
    FC_AVG_POOL_BACKWARD, /* pool: reads y (= dy), float32 or float64, dilation 1; writes x (= dx) */
    FC_SCATTER,           /* scatter: reads y (= dy) and indices; writes x (= dx) */
    FC_IM2COL,            /* columns: reads x; writes y (= cols) */
    FC_COL2IM,            /* columns: reads y (= cols); overwrites x by the sums, tap after tap */
    FC_OPS
} fc_op;

typedef union {
    fc_call call;
    fc_conv_problem conv;
    fc_pool_problem pool;
    fc_scatter_problem scatter;
    fc_columns_problem columns;
} fc_problem;

/* Weights arranged for forward calls of one path and instruction set. */
typedef struct fc_weights fc_weights;

/* The arrays of one call; those that its op does not name are NULL. */
typedef struct {
    void *x, *w, *b, *y;
    long long *indices;
    const fc_weights *weights; /* forward: made by fc_plan_prepare of this w, or NULL */
} fc_arrays;

/* What was chosen for one problem. It belongs to whoever created it, and may run on several threads at once. */
typedef struct fc_plan fc_plan;

/* Name of the path at `index` >= 0 of an op in order of preference, NULL after the last: `algorithm/arrangement`, or
 * `algorithm` where that has one arrangement. */
const char *fc_path_name(fc_op op, int index);

/* Why this path, or every path of this algorithm, cannot do the problem, as a sentence without a full stop; NULL if one
 * can. */
const char *fc_path_refusal(fc_op op, const char *path, const fc_problem *problem);

/* One path as the choice sees it. */
typedef struct {
    const char *name;
    int exact;           /* sums of small whole numbers are */
    const char *refusal; /* why it cannot do the problem, or NULL */
    const char *doubt;   /* why it is not taken unasked though it could be, or NULL */
    double cycles;       /* estimate of one thread; 0: it has none */
} fc_candidate;

/* The path at `index` of the op; whether there is one. */
int fc_find_candidate(fc_op op, const fc_problem *problem, int index, fc_candidate *candidate);

/* Chooses for a problem, of whose arrays it needs the strides alone. `path`: the name of one, or of an algorithm, of
 * whose paths the first that suits is taken, else the first that does not refuse; NULL: of all.
 * FC_REFUSED, FC_NO_MEMORY: *plan is NULL. */
fc_status fc_plan_create(fc_op op, const char *path, const fc_problem *problem, fc_plan **plan);
void fc_plan_free(fc_plan *plan); /* NULL is allowed */

fc_status fc_plan_run(const fc_plan *plan, const fc_arrays *arrays, fc_question interrupted);

/* Arranges w for calls of this plan and of others like it, whose arrays may have other strides, which then may have
 * less use of it. `weights` is set to NULL by paths that arrange nothing. */
fc_status fc_plan_prepare(const fc_plan *plan, const void *w, fc_question interrupted, fc_weights **weights);
void fc_weights_free(fc_weights *weights); /* NULL is allowed */

/* What a run will do. */
typedef struct {
    const char *path;
    const char *fallback; /* the path that takes over where infinities or NaN forbid this one's arithmetic, or NULL */
    char how[320];        /* a sentence without a full stop */
    ptrdiff_t tile[2];    /* rows and columns of the register tile, in elements; 0: there is none */
    ptrdiff_t block[3];   /* images, lines and columns of outputs that a task keeps in L2; 0: it has no blocks */
    ptrdiff_t tasks;
    size_t workspace;     /* bytes of blocks and tables that a run allocates, on all threads together */
    size_t packed;        /* beside these, for weights: forward is described as with prepared ones */
} fc_description;

void fc_plan_describe(const fc_plan *plan, fc_description *description);

/* ---- Instruction sets, threads ---- */

/* Name of the instruction set at `index` >= 0, best first, NULL after the last. */
const char *fc_isa_name(int index);
/* Whether this processor and its operating system have it. The last one always is. */
int fc_isa_available(int index);

/* ---- Layers ---- */

/* x: [outer][channels][inner], contiguous; statistics of each channel in double. */
typedef struct {
    fc_call call;
    ptrdiff_t outer, channels, inner;
    int relu; /* fc_norm_apply: y = max(y, 0), NaN kept */
} fc_norm_problem;

/* mean[c] and the sum of the squared differences from it; of the first two, sizes are at least 1. */
fc_status fc_moments(const fc_norm_problem *problem, const void *x, double *mean, double *squares);
/* sum of dy, and of dy * (x - mean[c]). */
fc_status fc_norm_sums(const fc_norm_problem *problem, const void *dy, const void *x,
                       const double *mean, double *sum, double *product);
/* What fc_norm_backward reads and writes. With y, the result of a ReLU after the norm, dz = dy where y > 0, else 0, is
 * written and takes dy's place; y and dz may be NULL. */
typedef struct {
    const void *dy, *x, *y;
    const double *mean, *inv_std, *gamma;
    double *dgamma, *dbeta;
    void *dx, *dz;
    int has_negative; /* set: whether an element of y is below 0, so that it is of no ReLU */
} fc_norm_gradient;

/* dbeta = sum of dy, dgamma = inv_std * sum of dy * (x - mean), and
 * dx = gamma * inv_std * (dy - (dbeta + dgamma * inv_std * (x - mean)) / count); sizes are at least 1. */
fc_status fc_norm_backward(const fc_norm_problem *problem, fc_norm_gradient *gradient);
/* y = a[c] * (x - mean[c]) + b[c], rounded, then + residual, which may be NULL. */
fc_status fc_norm_apply(const fc_norm_problem *problem, const void *x, const double *mean, const double *a,
                        const double *b, const void *residual, void *y);

/* y of x; with dy not NULL the gradient dx, x being what the forward returned.
 * ReLU: max(x, 0), NaN kept; dy where x > 0, else 0. Sigmoid: 1 / (1 + exp(-x)); dy * x * (1 - x). */
typedef enum { FC_RELU, FC_SIGMOID } fc_activation;

typedef struct {
    fc_call call;
    fc_activation activation;
    ptrdiff_t count;
} fc_activation_problem;

fc_status fc_activate(const fc_activation_problem *problem, const void *x, const void *dy, void *y);

/* loss = mean over n of -log softmax(scores[n])[labels[n]], scores [batch][classes]; gradient: in scores.
 * Sizes are at least 1. FC_OUT_OF_RANGE: a label is not in 0 ... classes - 1. */
typedef struct {
    fc_call call;
    ptrdiff_t batch, classes;
} fc_softmax_problem;

fc_status fc_softmax_cross_entropy(const fc_softmax_problem *problem, const void *scores,
                                   const long long *labels, double *loss, void *gradient);

/* The matrix y or dy [rows][cols] of a fully connected layer; sizes are at least 1. */
typedef struct {
    fc_call call;
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
