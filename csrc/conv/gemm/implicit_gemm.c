/* Paths of y and dx by gathered GEMMs (correlate.h): any geometry, any strides. */
#include <stdio.h>
#include <stdlib.h>

#include "../../platform/memory.h"
#include "../correlations.h"
#include "arrange.h"
#include "correlate.h"
#include "kinds.h"
#include "limits.h"

/* What a plan keeps. */
typedef struct {
    int together; /* some residues of dx are summed together */
    ptrdiff_t count;
    fc_gemm_kind kind[];
} gemm_state;

/* ---- Which path ---- */

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    const char *refusal = fc_gemm_refusal(op, p);
    if (refusal || path->variant == FC_GEMM_PIXELS || !p->batch) return refusal;
    if (path->variant > FC_GEMM_MIXED && p->stride[1] == 1 && p->stride[2] == 1)
        return "dx has no residues of a stride";
    fc_gemm_kinds kinds = fc_gemm_survey(op, p, path->variant);
    refusal = kinds.status == FC_OK ? kinds.refusal : "there is no memory to survey its correlations";
    if (path->variant == FC_GEMM_MIXED && kinds.status == FC_OK && fc_gemm_variant(&kinds) != FC_GEMM_MIXED)
        refusal = "one arrangement serves all of its correlations";
    fc_gemm_forget(&kinds);
    return refusal;
}

/* Why a variant is passed over for the one that is chosen. */
static const char *doubt_of(int variant, int chosen) {
    static const char *const is_quicker[FC_GEMM_VARIANTS] = {
        [FC_GEMM_PIXELS] = "implicit_gemm/pixels is estimated to take fewer cycles, or too few to choose",
        [FC_GEMM_PIXELS_APART] = "implicit_gemm/pixels_apart is estimated to take fewer cycles",
        [FC_GEMM_CHANNELS] = "implicit_gemm/channels is estimated to take fewer cycles",
        [FC_GEMM_PIECES] = "implicit_gemm/pieces is estimated to take fewer cycles",
        [FC_GEMM_ROW_PIECES] = "implicit_gemm/row_pieces is estimated to take fewer cycles",
        [FC_GEMM_MIXED] = "its correlations differ in what is estimated to take the fewest cycles",
        [FC_GEMM_TOGETHER_PIXELS] = "implicit_gemm/together_pixels is estimated to take fewer cycles",
        [FC_GEMM_TOGETHER_CHANNELS] = "implicit_gemm/together_channels is estimated to take fewer cycles",
    };
    if (variant == chosen) return NULL;
    if (chosen > FC_GEMM_MIXED && variant <= FC_GEMM_MIXED)
        return "residues of the stride that read the same positions of dy are summed together";
    return is_quicker[chosen];
}

static const char *doubt(const fc_path *path, fc_op op, const fc_problem *problem) {
    int chosen = path->variant;
    if (!problem->conv.batch) return NULL;
    fc_gemm_kinds kinds = fc_gemm_survey(op, &problem->conv, FC_GEMM_MIXED);
    if (kinds.status == FC_OK) chosen = fc_gemm_variant(&kinds);
    fc_gemm_forget(&kinds);
    return doubt_of(path->variant, chosen);
}

static double cycles(const fc_path *path, fc_op op, const fc_problem *problem) {
    if (!problem->conv.batch) return 0;
    fc_gemm_kinds kinds = fc_gemm_survey(op, &problem->conv, path->variant);
    const double estimate = kinds.status == FC_OK ? fc_gemm_cycles(&kinds, problem->conv.groups) : 0;
    fc_gemm_forget(&kinds);
    return estimate;
}

static fc_status create(fc_plan *plan) {
    fc_gemm_kinds kinds = fc_gemm_survey(plan->op, &plan->problem.conv, plan->path->variant);
    FC_ASSERT(kinds.status != FC_OK || !kinds.refusal);
    gemm_state *s = NULL;
    if (kinds.status == FC_OK) s = fc_plan_allocate(plan, sizeof *s + (size_t)kinds.count * sizeof *s->kind);
    if (s) {
        s->together = kinds.together != 0;
        s->count = kinds.count;
        for (ptrdiff_t i = 0; i < kinds.count; i++) s->kind[i] = kinds.kind[i];
    }
    fc_gemm_forget(&kinds);
    plan->state = s;
    return s ? FC_OK : FC_NO_MEMORY;
}

/* ---- A call ---- */

/* The weights of each group in the arrangement of its correlations. */
typedef struct {
    fc_weights common;
    ptrdiff_t groups;
    fc_packed packed[];
} gemm_weights;

/* The kind of a correlation, whose axes become merged. */
static const fc_gemm_kind *kind_of(const gemm_state *s, fc_correlation *c) {
    *c = fc_merge_axes(c);
    const fc_gemm_kind *kind = fc_gemm_kind_of(s->kind, s->count, c);
    FC_ASSERT(kind);
    return kind;
}

/* The correlation of the output plane whose weights stand for those of all planes of a group. */
static fc_correlation middle_plane(const fc_conv_job *j, ptrdiff_t g) {
    return fc_conv_forward_correlation(j, g, j->p->out_size[0] / 2);
}

/* Whether it is done: not, if weights that are not finite need the padding. */
static int forward(fc_conv_job *j, const gemm_state *s, const gemm_weights *weights) {
    const ptrdiff_t depth = j->p->out_size[0];
    int done = 1;
    for (ptrdiff_t g = 0; g < j->p->groups && done; g++) {
        fc_packed own = {0};
        if (!weights && depth > 1) { /* once for all output planes */
            fc_correlation c = middle_plane(j, g);
            const fc_gemm_kind *kind = kind_of(s, &c);
            fc_pack_weights(j, kind, &c, &own);
        }
        for (ptrdiff_t o = 0; o < depth && done && j->run.status == FC_OK; o++) {
            fc_correlation c = fc_conv_forward_correlation(j, g, o);
            const fc_gemm_kind *kind = kind_of(s, &c);
            c.packed = weights ? &weights->packed[g] : &own;
            done = fc_correlate(j, kind, &c);
        }
        fc_scratch_release(own.weights);
    }
    return done;
}

static void backward(fc_conv_job *j, void *context, const fc_correlation *residue, int lines, int residues) {
    const gemm_state *s = context;
    const int count = lines * residues;
    fc_correlation all;
    const fc_gemm_kind *kind = s->together ? fc_gemm_kind_of_residues(s->kind, s->count, residue, count, &all) : NULL;
    if (kind) {
        fc_correlate_together(j, kind, &all, residue, count);
        return;
    }
    for (int i = 0; i < count && j->run.status == FC_OK; i++) {
        fc_correlation c = residue[i];
        kind = kind_of(s, &c);
        const int done = fc_correlate(j, kind, &c); /* padding does not count in dx */
        FC_ASSERT(done);
        (void)done;
    }
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    fc_conv_job j = fc_conv_start(&plan->problem.conv, a, interrupted);
    int done = 1;
    if (!j.plane) return FC_NO_MEMORY;
    if (plan->op == FC_FORWARD) done = forward(&j, plan->state, (const gemm_weights *)fc_weights_of(plan, a));
    else fc_conv_backward_data(&j, plan->problem.conv.groups, backward, plan->state);
    const fc_status status = fc_conv_end(&j);
    if (done || status != FC_OK) return status;
    return plan->fallback->path->run(plan->fallback, a, interrupted);
}

/* ---- Prepared weights ---- */

static void free_weights(fc_weights *weights) {
    gemm_weights *all = (gemm_weights *)weights;
    for (ptrdiff_t g = 0; g < all->groups; g++) fc_scratch_release(all->packed[g].weights);
    free(all);
}

static fc_status prepare(const fc_plan *plan, const void *w, fc_question interrupted, fc_weights **weights) {
    const fc_conv_problem *p = &plan->problem.conv;
    gemm_weights *all = calloc(1, sizeof *all + (size_t)p->groups * sizeof *all->packed);
    if (!all) return FC_NO_MEMORY;
    all->common = (fc_weights){prepare, p->call.isa, free_weights};
    all->groups = p->groups;
    fc_conv_job j = fc_conv_start(p, NULL, interrupted);
    if (!j.plane) fc_stop(&j.run, FC_NO_MEMORY);
    for (ptrdiff_t g = 0; g < p->groups && j.run.status == FC_OK; g++) {
        fc_correlation c = middle_plane(&j, g);
        const fc_gemm_kind *kind = kind_of(plan->state, &c);
        c.w = (const char *)w + g * j.K * p->w_strides[0] * j.size;
        fc_pack_weights(&j, kind, &c, &all->packed[g]);
    }
    const fc_status status = fc_conv_end(&j);
    if (status == FC_OK) *weights = &all->common;
    else free_weights(&all->common);
    return status;
}

/* ---- Description ---- */

static double cycles_of(const fc_gemm_kind *kind) { return (double)kind->count * kind->stage[0].cycles; }

/* Says how a stage runs correlations of a kind, of `kinds` the one that takes longest. */
static void say_how(const fc_gemm_kind *kind, const fc_gemm_stage *p, ptrdiff_t kinds, fc_description *d) {
    const int by_channel = fc_by_channel(p);
    const ptrdiff_t *size = p->blocks.size, columns = p->tile_vectors * p->kernels->lanes;
    int used = snprintf(d->how, sizeof d->how,
                        "%s in the vector, register tiles of %td %s x %td %s, blocks of %td x %td x %td outputs "
                        "and %td of %td input planes%s, %s%s%s",
                        by_channel ? "output channels" : "pixels", p->tile_rows,
                        by_channel ? "outputs" : "output channels", columns,
                        by_channel ? "output channels" : "outputs", size[0], size[1], size[2], p->planes,
                        kind->shape.planes, p->by_chunk ? " at a time" : "",
                        p->blocks.in_place ? "read in place" : "from a padded copy",
                        p->arrangement == FC_GEMM_ROW_PIECES ? ", taps above and below left out"
                        : p->arrangement == FC_GEMM_PIECES   ? ", taps in the padding left out"
                                                             : "",
                        p->by_panel ? ", output channels shared out" : "");
    if (kind->shape.residues > 1 && used < (int)sizeof d->how)
        used += snprintf(d->how + used, sizeof d->how - (size_t)used, ", %td residues together", kind->shape.residues);
    if (kinds > 1 && used < (int)sizeof d->how)
        snprintf(d->how + used, sizeof d->how - (size_t)used, "; of %td kinds of correlations the longest", kinds);
}

static void describe(const fc_plan *plan, fc_description *d) {
    const fc_conv_problem *p = &plan->problem.conv;
    const gemm_state *s = plan->state;
    const int forward = plan->op == FC_FORWARD;
    const fc_gemm_kind *longest = NULL;
    for (ptrdiff_t i = 0; i < s->count; i++) {
        const fc_gemm_kind *kind = &s->kind[i];
        const fc_correlation c = {.out_channels = kind->at_once, .planes = kind->shape.planes,
                                  .axis = {kind->shape.axis[0], kind->shape.axis[1]}};
        fc_gemm_stage stage = kind->stage[0];
        stage.c = &c;
        stage.kernels = fc_find_kernels(p->call.isa, p->call.dtype);
        stage.size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
        /* Forward packs, or is given, all weights at once; where they are too many each call packs some. */
        const int prepared = forward && stage.packed && kind->at_once == kind->shape.out_channels;
        const size_t packed = prepared || stage.by_panel ? 0 : fc_aligned(stage.packed);
        const size_t bytes = fc_scratch_bytes(&stage, prepared) + packed;
        if (bytes > d->workspace) d->workspace = bytes;
        if (longest && cycles_of(kind) <= cycles_of(longest)) continue;
        longest = kind;
        d->packed = prepared ? fc_aligned(stage.packed) * (size_t)p->groups : 0;
        d->tile[0] = stage.tile_rows;
        d->tile[1] = stage.tile_vectors * stage.kernels->lanes;
        for (int a = 0; a < 3; a++) d->block[a] = stage.blocks.size[a];
        d->tasks = stage.tasks;
        say_how(kind, &stage, s->count, d);
    }
    if (!longest) snprintf(d->how, sizeof d->how, "no tap meets dy");
}

/* What all paths of the room have in common. */
#define OF_GEMM                                                                                                  \
    .exact = 1, .refuses = refuses, .doubt = doubt, .cycles = cycles, .create = create, .run = run,              \
    .prepare = prepare, .describe = describe

const fc_path fc_path_gemm_pixels = {.name = "implicit_gemm/pixels", .variant = FC_GEMM_PIXELS, OF_GEMM};
const fc_path fc_path_gemm_pixels_apart = {
    .name = "implicit_gemm/pixels_apart", .variant = FC_GEMM_PIXELS_APART, OF_GEMM};
const fc_path fc_path_gemm_channels = {.name = "implicit_gemm/channels", .variant = FC_GEMM_CHANNELS, OF_GEMM};

/* A weight that is infinite or NaN counts times the zeros of the padding, in y, not in dx: only y needs a fallback. */
const fc_path fc_path_gemm_pieces = {
    .name = "implicit_gemm/pieces", .variant = FC_GEMM_PIECES, .fallback = "implicit_gemm/channels", OF_GEMM};
const fc_path fc_path_gemm_row_pieces = {
    .name = "implicit_gemm/row_pieces", .variant = FC_GEMM_ROW_PIECES, .fallback = "implicit_gemm/channels", OF_GEMM};
const fc_path fc_path_gemm_mixed = {
    .name = "implicit_gemm/mixed", .variant = FC_GEMM_MIXED, .fallback = "implicit_gemm/channels", OF_GEMM};
const fc_path fc_path_gemm_dx_pieces = {.name = "implicit_gemm/pieces", .variant = FC_GEMM_PIECES, OF_GEMM};
const fc_path fc_path_gemm_dx_row_pieces = {
    .name = "implicit_gemm/row_pieces", .variant = FC_GEMM_ROW_PIECES, OF_GEMM};
const fc_path fc_path_gemm_dx_mixed = {.name = "implicit_gemm/mixed", .variant = FC_GEMM_MIXED, OF_GEMM};

const fc_path fc_path_gemm_together_pixels = {
    .name = "implicit_gemm/together_pixels", .variant = FC_GEMM_TOGETHER_PIXELS, OF_GEMM};
const fc_path fc_path_gemm_together_channels = {
    .name = "implicit_gemm/together_channels", .variant = FC_GEMM_TOGETHER_CHANNELS, OF_GEMM};
