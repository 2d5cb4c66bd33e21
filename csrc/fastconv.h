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
 * forward: reads x, w, b (or NULL), writes y. backward data: reads y (= dy), w, writes x (= dx).
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

/* Runs the named algorithm, or the first that does not refuse if `algorithm` is NULL. */
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

/* How many threads a call may use that does not say otherwise. By these two names and through its
 * own loader threadpoolctl finds the setting; they are the only exported ones. */
int fastconv_get_num_threads(void);
void fastconv_set_num_threads(int count);

#endif
