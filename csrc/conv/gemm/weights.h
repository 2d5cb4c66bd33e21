/* The gradients of weights by gathered GEMMs: dw and db of a correlation, in three arrangements.
 *
 * Each is laid out once, without arrays, and then runs on any gradient of the same geometry. Of the planes only those
 * in the padding, and how far apart the others lie, count for a layout, so that output planes of a volume share it. */
#ifndef FC_GEMM_WEIGHTS_H
#define FC_GEMM_WEIGHTS_H

#include "../../geometry/block.h"
#include "../../platform/threads.h"
#include "../correlation.h"

/* One gradient, and what it is computed with. In plans it has no addresses, and of `run` only the threads are read. */
typedef struct {
    const fc_kernels *kernels;
    ptrdiff_t size; /* bytes of an element */
    fc_run *run;
    const fc_weights_gradient *gradient;
    int accumulate; /* dw and db are added to what is there */
} fc_weights_call;

/* What a layout runs on: calls of a task function, and the bytes that all of them and each of them allocate. */
typedef struct {
    ptrdiff_t tasks;
    size_t shared_bytes, task_bytes;
} fc_weights_tasks;

/* A GEMM whose depth is the pixels of blocks of outputs: sums of [tap of a plane][channel], which are transposed into
 * dw at the end. Tiles have taps as rows, broadcast from the planes, and output channels as columns, read from dy. */
typedef struct {
    fc_blocks blocks;
    int by_tap;               /* pixels for which a tap lies in the padding are left out of its sums */
    int dy_in_place;          /* else it is transposed to [channels of a tile][pixel][channel] */
    ptrdiff_t panel;          /* so many planes that lie side by side are copied to [panel][pixel][plane]; or 0 */
    ptrdiff_t panel_stride;   /* elements */
    ptrdiff_t tile_rows, tile_vectors;
    ptrdiff_t planes;         /* filled at once */
    ptrdiff_t channels;       /* of dy, transposed at once */
    ptrdiff_t held_channels;  /* whose sums are held at once */
    ptrdiff_t pitch;          /* elements between rows of sums: the channels held, padded to whole vectors */
    ptrdiff_t partials;       /* sums that the pixels are shared out among */
    ptrdiff_t ranges;         /* of planes, which are shared out if the pixels are not */
    ptrdiff_t copy_elements, dy_elements, sum_elements; /* of a task: its planes, dy and sums, those not shared */
    fc_weights_tasks tasks;
} fc_weights_layout;

/* Why the pixels cannot be taken tap by tap, and why they should not be; NULL: nothing is against it. */
const char *fc_weights_by_tap_refusal(const fc_weights_call *call);
const char *fc_weights_by_tap_doubt(const fc_weights_call *call);

fc_weights_layout fc_lay_out_weights(const fc_weights_call *call, int by_tap);

/* Estimates in cycles for an output pixel: of all that a layout of blocks does, and of copies of planes alone. */
double fc_weights_cycles(const fc_weights_call *call);
double fc_weights_copy_cycles(const fc_weights_call *call);

/* Writes dw and db. Returns 0, and writes nothing that is to stay, if pixels were left out that count: by tap, where
 * some dy is not finite. Failures are in run->status. The result does not depend on the number of threads. */
int fc_run_weights(const fc_weights_layout *layout, const fc_weights_call *call);

/* Few sums, with pixels in the vector: dy is read where it lies, which fc_run_weights would transpose for them. Threads
 * share out a number of partial results that depends on the problem alone. */
typedef struct {
    fc_blocks blocks;
    ptrdiff_t bytes;    /* that a block reads of x */
    int dense;          /* all lines of a block follow each other, in x as in dy */
    ptrdiff_t taps;     /* of all planes */
    ptrdiff_t tiles;    /* of taps */
    ptrdiff_t elements; /* of a partial result */
    ptrdiff_t partials;
    fc_weights_tasks tasks;
} fc_few_sums_layout;

/* Why few sums cannot be taken, and why they should not be; NULL: nothing is against it. */
const char *fc_few_sums_refusal(const fc_weights_call *call);
const char *fc_few_sums_doubt(const fc_weights_call *call);

/* Contract: it is not refused. */
fc_few_sums_layout fc_lay_out_few_sums(const fc_weights_call *call);

/* Estimate in cycles for an output pixel; contract: it is not refused. */
double fc_few_sums_cycles(const fc_weights_call *call);

/* Writes dw, and db if it is wanted. Failures are in run->status. Threads do not
 * change the result. */
void fc_run_few_sums(const fc_few_sums_layout *layout, const fc_weights_call *call);

#endif
