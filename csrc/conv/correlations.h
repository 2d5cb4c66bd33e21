/* Forward and backward data of a problem as correlations (correlation.h), for the algorithms that run
 * them. Groups differ by constant offsets; a third spatial axis adds planes: (channel, tap of the depth
 * axis). */
#ifndef FC_CONV_CORRELATIONS_H
#define FC_CONV_CORRELATIONS_H

#include "../kernels/kernels.h"
#include "algorithm.h"
#include "correlation.h"

typedef struct {
    const fc_conv_problem *p;
    const fc_arrays *a; /* NULL: a plan is made, of correlations without addresses */
    const fc_kernels *kernels;
    ptrdiff_t size; /* bytes of an element */
    ptrdiff_t C, K; /* channels of a group */
    fc_run run;
    ptrdiff_t *plane; /* lists of C or K times the taps of the depth axis; NULL if there is no memory */
    ptrdiff_t *w_plane;
} fc_conv_job;

/* Threads that are worth waking, of the call's. */
int fc_conv_useful_threads(const fc_conv_problem *p);

fc_conv_job fc_conv_start(const fc_conv_problem *p, const fc_arrays *a, fc_question interrupted);
fc_status fc_conv_end(fc_conv_job *j);

/* An axis of the forward: 0, 1, 2. */
fc_axis fc_conv_forward_axis(const fc_conv_problem *p, int axis);
/* An axis of backward data, for the positions of dx that tap 0 reaches. */
fc_axis fc_conv_backward_axis(const fc_conv_problem *p, int axis);
/* As many outputs and taps as an axis of backward data has for any residue of the stride: tap 0 may reach nothing. */
fc_axis fc_conv_backward_bound(const fc_conv_problem *p, int axis);

/* The correlation whose y is output plane o of group g: of the forward, and of dw. It uses the lists. */
fc_correlation fc_conv_forward_correlation(const fc_conv_job *j, ptrdiff_t g, ptrdiff_t o);

/* Images that are read and written pixel by pixel, without a gap, become lines. */
fc_correlation fc_merge_axes(const fc_correlation *correlation);

/* The adjoint in the weights of a correlation of output planes of group g. */
fc_weights_gradient fc_conv_weights_gradient(const fc_conv_job *j, ptrdiff_t g, const fc_correlation *c);

/* Correlations whose targets differ by their residues of the stride: `lines` along the height, and of each
 * `residues` along the width; FC_MAX_RESIDUES at most. */
typedef void (*fc_conv_each)(fc_conv_job *j, void *context, const fc_correlation *residue, int lines, int residues);

/* All output planes at once of the forward and of dw, or all planes of dx where the depth axis has stride 1, as images:
 * image i of the correlation is plane i % depth->outputs of image i / depth->outputs. Of dx, where the other axes have
 * a stride, what fc_conv_backward_axis says. Its planes are those of a tap of the depth axis after those of another,
 * listed where each channel begins. It uses the lists. */
fc_correlation fc_conv_deep_correlation(const fc_conv_job *j, fc_op op, ptrdiff_t g, fc_axis *depth);

int fc_conv_weights_are_finite(const fc_conv_job *j);

/* Calls `each` for the planes and residues of the first `groups` groups; in a call also fills what they do not write,
 * and mends what zeros beside dy and weights that are not finite make NaN. */
void fc_conv_backward_data(fc_conv_job *j, ptrdiff_t groups, fc_conv_each each, void *context);

/* Calls `each` for the residues of plane i of group g alone, of which there may be none. */
void fc_conv_backward_plane(fc_conv_job *j, ptrdiff_t g, ptrdiff_t i, fc_conv_each each, void *context);

#endif
