/* The paths of Winograd's algorithms (kernels/winograd.tmpl.h), stride 1, dilated or not: 3x3 with 36 products where
 * the definition has 144, or 16 instead of 36; 5x5 with 48 instead of 200; 2, 3, 5 and 7 taps along one axis with 6
 * instead of 10 and 12, 8 instead of 20 and 14. 3x3 with stride 2 goes by its residues. Backward data has its taps
 * reversed. A third axis adds planes: of each of its taps all channels.
 *
 * What is not finite cannot go through transforms, which would spread it: few lines of tiles are done again by the
 * defining sums, else all by the plan's fallback. */
#include <stdio.h>
#include <stdlib.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "choice.h"
#include "sums.h"
#include "weights.h"

/* A plan's state. */
typedef struct {
    fc_winograd_form form;
    union {
        fc_winograd_sums sums;         /* forward, dx */
        fc_winograd_gradient gradient; /* dw */
    } of;
} stages;

/* The weights of each group, transformed. */
typedef struct {
    fc_weights common;
    fc_winograd_shape shape;
    ptrdiff_t groups;
    char *transformed[];
} prepared;

/* All planes of group g; of a spread, the outputs of the larger residue. */
static fc_correlation correlation_of(const fc_conv_job *cj, fc_op op, const fc_winograd_form *form, ptrdiff_t g,
                                     fc_axis *depth) {
    const fc_conv_problem *p = cj->p;
    fc_correlation c = fc_conv_deep_correlation(cj, op, g, depth);
    for (int i = 0; i < 2 && form->spread; i++) {
        c.axis[i].outputs = quotient_up(p->in_size[i + 1], 2);
        c.axis[i].target_stride = 2 * p->x_strides[i + 3];
    }
    return c;
}

static fc_status create(fc_plan *plan) {
    const fc_conv_problem *p = &plan->problem.conv;
    stages *s = fc_plan_allocate(plan, sizeof *s);
    if (!s) return FC_NO_MEMORY;
    fc_conv_job cj = fc_conv_start(p, NULL, NULL);
    if (!cj.plane) return FC_NO_MEMORY;
    fc_axis depth;
    s->form = fc_winograd_form_of((fc_winograd_shape)plan->path->variant, plan->op, p);
    const fc_correlation c = correlation_of(&cj, plan->op, &s->form, 0, &depth);
    if (plan->op == FC_BACKWARD_WEIGHTS) s->of.gradient = fc_winograd_plan_weights(&cj, s->form, &c, &depth);
    else s->of.sums = fc_winograd_plan_sums(&cj, plan->op, s->form, &c, &depth);
    plan->state = s;
    return fc_conv_end(&cj);
}

/* Weights of a call that were prepared for the tiles of this plan, or NULL. */
static const prepared *weights_of(const fc_plan *plan, const fc_arrays *a) {
    const prepared *all = (const prepared *)fc_weights_of(plan, a);
    return all && all->shape == ((const stages *)plan->state)->form.shape ? all : NULL;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    const fc_conv_problem *p = &plan->problem.conv;
    const stages *s = plan->state;
    const fc_op op = plan->op;
    fc_conv_job cj = fc_conv_start(p, a, interrupted);
    if (!cj.plane) return FC_NO_MEMORY;
    const prepared *all = op == FC_FORWARD ? weights_of(plan, a) : NULL;
    int again = 0;
    for (ptrdiff_t g = 0; !again && g < p->groups && cj.run.status == FC_OK; g++) {
        fc_axis depth;
        const fc_correlation c = correlation_of(&cj, op, &s->form, g, &depth);
        if (op == FC_BACKWARD_WEIGHTS) {
            const fc_weights_gradient gradient = fc_conv_weights_gradient(&cj, g, &c);
            again = fc_winograd_sum_weights(&s->of.gradient, &gradient, &cj.run);
        } else {
            again = fc_winograd_sum(&s->of.sums, &c, all ? all->transformed[g] : NULL, &cj.run);
        }
    }
    if (op == FC_BACKWARD_DATA && !again && !fc_conv_weights_are_finite(&cj)) fc_naive_repair_edges(p, a, &cj.run);
    const fc_status status = fc_conv_end(&cj);
    return again && status == FC_OK ? plan->fallback->path->run(plan->fallback, a, interrupted) : status;
}

static void free_prepared(fc_weights *weights) {
    prepared *all = (prepared *)weights;
    for (ptrdiff_t g = 0; g < all->groups; g++) fc_scratch_release(all->transformed[g]);
    free(all);
}

static fc_status prepare(const fc_plan *plan, const void *w, fc_question interrupted, fc_weights **weights) {
    const fc_conv_problem *p = &plan->problem.conv;
    const stages *s = plan->state;
    const fc_arrays arrays = {.w = (void *)w};
    prepared *all = calloc(1, sizeof *all + (size_t)p->groups * sizeof *all->transformed);
    if (!all) return FC_NO_MEMORY;
    all->common = (fc_weights){prepare, p->call.isa, free_prepared};
    all->shape = s->form.shape;
    all->groups = p->groups;
    fc_conv_job cj = fc_conv_start(p, &arrays, interrupted);
    if (!cj.plane) fc_stop(&cj.run, FC_NO_MEMORY);
    for (ptrdiff_t g = 0; g < p->groups && cj.run.status == FC_OK; g++) {
        fc_axis depth;
        const fc_correlation c = correlation_of(&cj, FC_FORWARD, &s->form, g, &depth);
        all->transformed[g] = fc_winograd_transform(&s->of.sums, &c, &cj.run);
    }
    const fc_status status = fc_conv_end(&cj);
    if (status == FC_OK) *weights = &all->common;
    else free_prepared(&all->common);
    return status;
}

/* ---- What a plan says ---- */

/* The outputs of a block of so many lines of tiles. */
static void describe_block(const fc_plan *plan, const fc_winograd_grid *g, ptrdiff_t lines, fc_description *d) {
    const fc_conv_problem *p = &plan->problem.conv;
    const ptrdiff_t *size = plan->op == FC_BACKWARD_DATA ? p->in_size : p->out_size;
    const ptrdiff_t residues = g->form.spread ? 2 : 1, down = g->line_step * g->down;
    d->block[0] = quotient_up(lines, g->segments * down);
    d->block[1] = min(size[1], residues * g->form.tile[0] * min(lines, down));
    d->block[2] = min(size[2], residues * g->form.tile[1] * g->across);
}

static void describe(const fc_plan *plan, fc_description *d) {
    const stages *s = plan->state;
    const fc_winograd_form *form = &s->form;
    const char *of = form->spread ? " of the residues of dx" : form->stride > 1 ? " of the residues of x" : "";
    char algorithm[80];
    snprintf(algorithm, sizeof algorithm, "F(%tdx%td, %tdx%td)%s", form->tile[0], form->tile[1], form->taps[0],
             form->taps[1], of);
    if (plan->op == FC_BACKWARD_WEIGHTS) {
        const fc_winograd_gradient *g = &s->of.gradient;
        snprintf(d->how, sizeof d->how,
                 "the adjoint of %s: blocks of %td tiles, ranges of %td output channels and %td planes of x, "
                 "%td sum(s) of each",
                 algorithm, g->block_lines * g->grid.across, g->range_out_channels, g->range_in_planes, g->splits);
        d->tile[0] = g->tile_rows;
        d->tile[1] = g->panel;
        d->tasks = g->tasks;
        d->workspace = fc_winograd_gradient_bytes(g, plan->problem.conv.has_b);
        describe_block(plan, &g->grid, g->block_lines, d);
        return;
    }
    const fc_winograd_sums *sums = &s->of.sums;
    const int forward = plan->op == FC_FORWARD, has_weights = forward || sums->shares_weights;
    char redone[120] = "";
    if (sums->max_redone)
        snprintf(redone, sizeof redone,
                 "; at most %d line(s) of tiles of a panel with infinities or NaN are done again by the defining sums",
                 sums->max_redone);
    snprintf(d->how, sizeof d->how, "%s: blocks of %td tiles, panels of %td output channels%s", algorithm,
             sums->block_tiles, sums->panel, redone);
    d->tile[0] = sums->kernels->winograd_tile_rows[sums->tile_vectors - 1];
    d->tile[1] = sums->panel;
    d->tasks = sums->line_tasks * sums->panel_tasks;
    d->workspace = fc_winograd_task_bytes(sums, has_weights) * (size_t)d->tasks;
    if (has_weights) d->packed = fc_winograd_weights_bytes(sums) * (size_t)(forward ? plan->problem.conv.groups : 1);
    describe_block(plan, &sums->grid, sums->block_lines, d);
}

static const fc_algorithm algorithm = {fc_winograd_doubts};

/* Whole numbers, if they are small, go through the transforms of F(2x2, 3x3) alone without rounding. */
#define PATH(its_shape, its_name, is_exact)                                                                     \
    {                                                                                                           \
        .name = "winograd/" its_name, .algorithm = &algorithm, .variant = its_shape, .exact = is_exact,         \
        .fallback = "implicit_gemm", .refuses = fc_winograd_refuses, .doubt = fc_winograd_doubts_path,          \
        .cycles = fc_winograd_cycles, .create = create, .run = run, .prepare = prepare, .describe = describe,   \
    }

const fc_path fc_path_winograd_2x2_3x3 = PATH(FC_WINOGRAD_3X3_ACCURATE, "2x2_3x3", 1);
const fc_path fc_path_winograd_4x4_3x3 = PATH(FC_WINOGRAD_3X3, "4x4_3x3", 0);
const fc_path fc_path_winograd_4x2_5x5 = PATH(FC_WINOGRAD_5X5, "4x2_5x5", 0);
const fc_path fc_path_winograd_5x5_2x2 = PATH(FC_WINOGRAD_2X2, "5x5_2x2", 0);
const fc_path fc_path_winograd_5_2 = PATH(FC_WINOGRAD_1X2, "5_2", 0);
const fc_path fc_path_winograd_4_3 = PATH(FC_WINOGRAD_1X3, "4_3", 0);
const fc_path fc_path_winograd_4_5 = PATH(FC_WINOGRAD_1X5, "4_5", 0);
const fc_path fc_path_winograd_2_7 = PATH(FC_WINOGRAD_1X7, "2_7", 0);
