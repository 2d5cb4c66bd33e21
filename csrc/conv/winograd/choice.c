/* Which problems Winograd's paths can do, and which of them they take unasked. */
#include "choice.h"

#include <math.h>

#include "../../arithmetic.h"
#include "../../tuning.h"

/* Rows of the tables of costs. */
_Static_assert(FC_WINOGRAD_3X3 == 0 && FC_WINOGRAD_3X3_ACCURATE == 1 && FC_WINOGRAD_5X5 == 2 && FC_WINOGRAD_2X2 == 3 &&
                   FC_WINOGRAD_1X2 == 4 && FC_WINOGRAD_1X3 == 5 && FC_WINOGRAD_1X5 == 6 && FC_WINOGRAD_1X7 == 7 &&
                   FC_WINOGRAD_SHAPES == sizeof FC_WINOGRAD_COSTS / sizeof *FC_WINOGRAD_COSTS &&
                   FC_WINOGRAD_SHAPES == sizeof FC_WINOGRAD_DW_COSTS / sizeof *FC_WINOGRAD_DW_COSTS,
               "tuning.h has a row for each shape, in their order");

static const char *const other_kernels[FC_WINOGRAD_SHAPES] = {
    [FC_WINOGRAD_3X3] = "the kernel is not 3x3 with stride 1",
    [FC_WINOGRAD_3X3_ACCURATE] = "the kernel is not 3x3 with stride 1",
    [FC_WINOGRAD_5X5] = "the kernel is not 5x5 with stride 1",
    [FC_WINOGRAD_2X2] = "the kernel is not 3x3 with stride 2",
    [FC_WINOGRAD_1X2] = "the kernel is not 2 taps along one axis with stride 1",
    [FC_WINOGRAD_1X3] = "the kernel is not 3 taps along one axis with stride 1",
    [FC_WINOGRAD_1X5] = "the kernel is not 5 taps along one axis with stride 1",
    [FC_WINOGRAD_1X7] = "the kernel is not 7 taps along one axis with stride 1",
};

static ptrdiff_t dilation_of(const fc_conv_problem *p, int axis) { return p->kernel[axis] > 1 ? p->dilation[axis] : 1; }

/* Channels whose products are summed, those of all taps of the depth axis. */
static ptrdiff_t summed_channels(fc_op op, const fc_conv_problem *p) {
    return (op == FC_BACKWARD_DATA ? p->out_channels : p->in_channels) / p->groups * p->kernel[0];
}

/* ---- What is refused ---- */

static int is_adjacent(const ptrdiff_t strides[5]) { return strides[1] == 1 || strides[4] == 1; }

/* Whether a line of tiles, which is cut only between the residues of a dilation, passes the workspace. */
static int is_too_large(const fc_winograd_form *form, fc_op op, const fc_conv_problem *p) {
    const ptrdiff_t size = p->call.dtype == FC_FLOAT64 ? 8 : 4;
    const int adjacent = (op == FC_BACKWARD_DATA ? p->y_strides : p->x_strides)[1] == 1;
    const double tile = op == FC_BACKWARD_WEIGHTS
                            ? fc_winograd_weights_tile_bytes(form, size)
                            : fc_winograd_tile_bytes(form, size, summed_channels(op, p), adjacent);
    return tile * (double)dilation_of(p, 2) > FC_WINOGRAD_LINE_BYTES;
}

/* Why no path can do the problem, or NULL. */
static const char *refusal_of_all(fc_op op, const fc_conv_problem *p) {
    fc_winograd_form form = {.points = 0};
    int fits = 0;
    for (int shape = 0; shape < FC_WINOGRAD_SHAPES; shape++) {
        const fc_winograd_form candidate = fc_winograd_form_of((fc_winograd_shape)shape, op, p);
        if (!candidate.points) continue;
        form = candidate;
        fits |= !is_too_large(&form, op, p);
    }
    if (op == FC_BACKWARD_DATA && p->stride[0] > 1) return "the stride of the first axis is not 1";
    if (!form.points && (p->stride[1] > 1 || p->stride[2] > 1)) return "the stride is not 1, or 2 of 3x3 kernels";
    if (!form.points) return "the kernel is not 3x3, 5x5, or 2, 3, 5 or 7 along one axis";
    const int strided = form.stride > 1 || form.spread;
    if (strided && (p->dilation[1] > 1 || p->dilation[2] > 1)) return "dilated kernels have a stride";
    for (int i = 1; i < 3; i++)
        if (dilation_of(p, i) > min(p->in_size[i], p->out_size[i])) return "the dilation is larger than the image";
    if (form.spread && (p->in_size[1] < 2 || p->in_size[2] < 2)) return "dx has a residue of no positions";
    if (p->batch == 0) return NULL; /* whatever its strides are */
    if (!is_adjacent(p->x_strides) || !is_adjacent(p->y_strides)) return "neither channels nor columns are adjacent";
    return fits ? NULL : "a line of tiles passes the workspace";
}

const char *fc_winograd_refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    const char *reason = refusal_of_all(op, p);
    if (reason) return reason;
    const fc_winograd_form form = fc_winograd_form_of((fc_winograd_shape)path->variant, op, p);
    if (!form.points) return other_kernels[path->variant];
    if (p->batch == 0) return NULL;
    if (is_too_large(&form, op, p)) return "a line of tiles passes the workspace";
    if (op == FC_BACKWARD_WEIGHTS && !p->has_w) return "dw is not wanted, and db is summed along with it";
    return NULL;
}

/* ---- What is taken unasked ---- */

const char *fc_winograd_doubts_path(const fc_path *path, fc_op op, const fc_problem *problem) {
    (void)op;
    if (path->variant == FC_WINOGRAD_3X3_ACCURATE && !problem->conv.accurate)
        return "accuracy normal takes larger tiles";
    if (path->variant == FC_WINOGRAD_3X3 && problem->conv.accurate) return "accuracy high asks for 2x2_3x3";
    return NULL;
}

/* The form that is taken unasked; points are 0 if there is none. */
static fc_winograd_form form_taken(fc_op op, const fc_conv_problem *p) {
    for (int shape = 0; shape < FC_WINOGRAD_SHAPES; shape++) {
        if (shape == (p->accurate ? FC_WINOGRAD_3X3 : FC_WINOGRAD_3X3_ACCURATE)) continue;
        const fc_winograd_form form = fc_winograd_form_of((fc_winograd_shape)shape, op, p);
        if (form.points) return form;
    }
    return (fc_winograd_form){.points = 0};
}

/* Outputs along an axis; of the residues of a stride, which have tiles in common, of one. */
static ptrdiff_t outputs_along(fc_op op, const fc_conv_problem *p, int axis) {
    return op == FC_BACKWARD_DATA ? quotient_up(p->in_size[axis], p->stride[axis]) : p->out_size[axis];
}

/* Tiles of all residues of a dilation. */
static double tiles_along(const fc_winograd_form *form, fc_op op, const fc_conv_problem *p, int axis) {
    const ptrdiff_t of_residue = quotient_up(outputs_along(op, p, axis), dilation_of(p, axis));
    return (double)dilation_of(p, axis) * (double)quotient_up(of_residue, form->tile[axis - 1]);
}

static double images_of(fc_op op, const fc_conv_problem *p) {
    return (double)p->batch * (double)outputs_along(op, p, 0);
}

/* The part of the taps of all outputs along an axis that lie inside. */
static double part_inside(const fc_conv_problem *p, int axis) {
    double inside = 0;
    for (ptrdiff_t t = 0; t < p->kernel[axis]; t++) {
        const ptrdiff_t reach = t * p->dilation[axis];
        const ptrdiff_t end = min(p->out_size[axis], p->in_size[axis] + p->pad[axis] - reach);
        inside += (double)max(0, end - max(0, p->pad[axis] - reach));
    }
    return inside / ((double)p->out_size[axis] * (double)p->kernel[axis]);
}

/* Input and output channels of a group, those of all taps of the depth axis where they are summed. */
static void count_channels(fc_op op, const fc_conv_problem *p, double *C, double *K) {
    *C = (double)(p->in_channels / p->groups);
    *K = (double)(p->out_channels / p->groups);
    *(op == FC_BACKWARD_DATA ? K : C) *= (double)p->kernel[0];
}

/* Estimate in units of FC_WINOGRAD_COSTS, for an input and an output channel. */
static double units_of(const fc_winograd_form *form, fc_op op, const fc_conv_problem *p) {
    const fc_winograd_cost *cost = form->spread ? &FC_WINOGRAD_SPREAD_COST
                                   : op == FC_BACKWARD_WEIGHTS ? &FC_WINOGRAD_DW_COSTS[form->shape]
                                                               : &FC_WINOGRAD_COSTS[form->shape];
    double C, K;
    count_channels(op, p, &C, &K);
    const double tiles = images_of(op, p) * tiles_along(form, op, p, 1) * tiles_along(form, op, p, 2);
    return tiles * (cost->tile + cost->transforms * (1 / C + 1 / K)) + cost->weights + cost->many_weights * sqrt(C * K);
}

/* What gathered GEMMs take, in the same units. They leave out what is in the padding: about all if it is wide, as with
 * dilation, in dw some. */
static double gathered_units(fc_op op, const fc_conv_problem *p) {
    const double inside = part_inside(p, 1) * part_inside(p, 2);
    double taps = (double)p->kernel[1] * (double)p->kernel[2];
    if (dilation_of(p, 1) > 1 || dilation_of(p, 2) > 1) taps *= inside;
    else if (op == FC_BACKWARD_WEIGHTS) taps *= sqrt(inside);
    const double outputs = images_of(op, p) * (double)outputs_along(op, p, 1) * (double)outputs_along(op, p, 2);
    return FC_WINOGRAD_GATHERED_TAP * taps * outputs;
}

/* Whether a group has fewer input or output channels than it takes unasked. */
static int has_few_channels(const fc_winograd_form *form, const fc_conv_problem *p, double C, double K) {
    const double fewer = C < K ? C : K;
    if (form->shape != FC_WINOGRAD_3X3 || p->kernel[0] > 1) return fewer < FC_WINOGRAD_MIN_CHANNELS;
    const int has_16_lanes = fc_find_kernels(p->call.isa, p->call.dtype)->lanes >= 16;
    return fewer < FC_WINOGRAD_MIN_CHANNELS_3X3 || (has_16_lanes && C * K < FC_WINOGRAD_MIN_PRODUCT_16_LANES);
}

const char *fc_winograd_doubts(fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    const fc_winograd_form form = form_taken(op, p);
    double C, K;
    count_channels(op, p, &C, &K);
    if (p->accurate && form.shape != FC_WINOGRAD_3X3_ACCURATE) return "accuracy high asks for the error of direct sums";
    if (has_few_channels(&form, p, C, K)) return "it has few channels";
    if (summed_channels(op, p) > FC_WINOGRAD_MAX_CHANNELS) return "it has so many channels that few tiles fit a block";
    if (!form.points || FC_WINOGRAD_MARGIN * units_of(&form, op, p) >= gathered_units(op, p))
        return "gathered GEMMs are estimated to take less time";
    return NULL;
}

/* A unit is the time of so many multiply-adds at two vectors of them a cycle, as gathered GEMMs count cycles; the
 * fits, with AVX-512 and mostly in float32, are taken to hold for other vectors in proportion. */
double fc_winograd_cycles(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    const fc_winograd_form form = fc_winograd_form_of((fc_winograd_shape)path->variant, op, p);
    const double lanes = fc_find_kernels(p->call.isa, p->call.dtype)->lanes;
    double C, K;
    count_channels(op, p, &C, &K);
    return units_of(&form, op, p) * C * K * (double)p->groups * FC_WINOGRAD_UNIT / (2 * lanes);
}
