#include "kinds.h"

#include <stdlib.h>
#include <string.h>

#include "arrange.h"
#include "cost.h"

/* Whether residues read nearly the same positions: then *all has, as taps, those that any of them reads. */
static int find_all_positions(const fc_correlation *residue, int residues, fc_correlation *all) {
    *all = residue[0];
    for (int a = 0; a < 2; a++) {
        fc_axis *axis = &all->axis[a];
        ptrdiff_t low = axis->tap, high = axis->tap, max_taps = 1;
        for (int i = 0; i < residues; i++) {
            const fc_axis *own = &residue[i].axis[a];
            const ptrdiff_t last = own->tap + (own->taps - 1) * own->tap_step;
            if (own->stride != 1) return 0;
            low = min(low, min(own->tap, last));
            high = max(high, max(own->tap, last));
            max_taps = max(max_taps, own->taps);
            if (own->outputs > axis->outputs) {
                axis->outputs = own->outputs;
                axis->target_stride = own->target_stride;
            }
        }
        if (high - low > max_taps) return 0;
        axis->taps = high - low + 1;
        axis->tap = low;
        axis->tap_step = 1;
    }
    return 1;
}

/* ---- Kinds ---- */

static fc_gemm_shape shape_of(const fc_correlation *c) {
    fc_gemm_shape shape = {
        .residues = 1,
        .taps = c->axis[0].taps * c->axis[1].taps,
        .out_channels = c->out_channels,
        .planes = c->planes,
        .has_all_planes = fc_has_all_planes(c),
        .axis = {c->axis[0], c->axis[1]},
    };
    shape.axis[0].weight = shape.axis[1].weight = 0;
    return shape;
}

static fc_gemm_shape shape_of_residues(const fc_correlation *all, const fc_correlation *residue, int residues) {
    fc_gemm_shape shape = shape_of(all);
    shape.residues = residues;
    shape.taps = 0;
    for (int i = 0; i < residues; i++) shape.taps += residue[i].axis[0].taps * residue[i].axis[1].taps;
    return shape;
}

/* Shapes are compared byte by byte. */
_Static_assert(sizeof(fc_gemm_shape) == 5 * sizeof(ptrdiff_t) + 2 * sizeof(fc_axis) &&
                   sizeof(fc_axis) == 10 * sizeof(ptrdiff_t),
               "no byte of a shape is padding");

/* The index of the kind of a shape, `count` if there is none. */
static ptrdiff_t find(const fc_gemm_kind *kinds, ptrdiff_t count, const fc_gemm_shape *shape) {
    ptrdiff_t i = 0;
    while (i < count && memcmp(&kinds[i].shape, shape, sizeof *shape) != 0) i++;
    return i;
}

const fc_gemm_kind *fc_gemm_kind_of(const fc_gemm_kind *kinds, ptrdiff_t count, const fc_correlation *c) {
    const fc_gemm_shape shape = shape_of(c);
    const ptrdiff_t at = find(kinds, count, &shape);
    return at < count ? &kinds[at] : NULL;
}

const fc_gemm_kind *fc_gemm_kind_of_residues(const fc_gemm_kind *kinds, ptrdiff_t count, const fc_correlation *residue,
                                             int residues, fc_correlation *all) {
    if (residues == 1 || !find_all_positions(residue, residues, all)) return NULL;
    const fc_gemm_shape shape = shape_of_residues(all, residue, residues);
    const ptrdiff_t at = find(kinds, count, &shape);
    return at < count ? &kinds[at] : NULL;
}

/* The kind of a shape, or a new one, whose count is 0; NULL if there is no memory. */
static fc_gemm_kind *find_or_add(fc_gemm_kinds *s, const fc_gemm_shape *shape) {
    const ptrdiff_t at = find(s->kind, s->count, shape);
    if (at < s->count) return &s->kind[at];
    if (s->count == s->capacity) {
        const ptrdiff_t capacity = 2 * s->capacity + 4;
        fc_gemm_kind *kind = realloc(s->kind, (size_t)capacity * sizeof *kind);
        if (!kind) {
            s->status = FC_NO_MEMORY;
            return NULL;
        }
        s->kind = kind;
        s->capacity = capacity;
    }
    fc_gemm_kind *kind = &s->kind[s->count++];
    memset(kind, 0, sizeof *kind);
    kind->shape = *shape;
    return kind;
}

/* ---- Stages of a kind ---- */

static fc_gemm_arrangement arrangement_of(int variant) {
    return variant == FC_GEMM_TOGETHER_PIXELS     ? FC_GEMM_PIXELS
           : variant == FC_GEMM_TOGETHER_CHANNELS ? FC_GEMM_CHANNELS
                                                  : (fc_gemm_arrangement)variant;
}

/* Plans a stage of c; why the variant cannot run it, or NULL. */
static const char *plan_stage(fc_conv_job *j, int variant, const fc_correlation *c, int alone, fc_gemm_stage *stage) {
    *stage = (fc_gemm_stage){.c = c, .kernels = j->kernels, .size = j->size, .run = &j->run};
    if (variant != FC_GEMM_MIXED) return fc_arrange(stage, arrangement_of(variant));
    fc_choose_arrangement(stage, alone);
    return NULL;
}

/* A stage that is kept has no addresses. */
static void unbind(fc_gemm_stage *stage) {
    stage->c = NULL;
    stage->kernels = NULL;
    stage->size = 0;
    stage->run = NULL;
    stage->blocks.axis = NULL;
}

/* The stages of a correlation by itself; why the variant cannot run it, or NULL. */
static const char *plan_alone(fc_conv_job *j, int variant, const fc_correlation *c, fc_gemm_kind *kind) {
    kind->at_once = fc_channels_at_once(c, j->size);
    const ptrdiff_t rest = c->out_channels % kind->at_once;
    const char *refusal = NULL;
    for (int last = 0; last < (rest ? 2 : 1) && !refusal; last++) {
        const fc_correlation part = fc_channels_of(c, j->size, 0, last ? rest : kind->at_once);
        refusal = plan_stage(j, variant, &part, 1, &kind->stage[last]);
        unbind(&kind->stage[last]);
    }
    if (!rest) kind->stage[1] = kind->stage[0];
    return refusal;
}

/* Bytes of the packed weights and cycles of residues that are summed together. */
static void add_up(fc_gemm_stage *stage, const fc_correlation *residue, int residues) {
    stage->packed = 0;
    stage->cycles = fc_fill_cycles(stage);
    for (int i = 0; i < residues; i++) {
        fc_gemm_stage own = *stage;
        own.c = &residue[i];
        own.blocks.axis = residue[i].axis;
        stage->cycles += fc_by_channel(&own) ? fc_channel_tile_cycles(&own, 1) : fc_pixel_cycles(&own);
        if (fc_needs_packed(&own)) stage->packed += fc_weight_elements(&own) * own.size;
    }
}

/* The stage of residues that are summed together; why they are not, or NULL. */
static const char *plan_together(fc_conv_job *j, int variant, const fc_correlation *all, const fc_correlation *residue,
                                 fc_gemm_kind *kind) {
    fc_gemm_stage *stage = &kind->stage[0];
    kind->at_once = all->out_channels;
    if (fc_channels_at_once(all, j->size) < all->out_channels) return "output channels are summed in several parts";
    const char *refusal = plan_stage(j, variant, all, 0, stage);
    if (!refusal && stage->blocks.in_place) refusal = "dy is read in place";
    const ptrdiff_t elements = fc_panels(stage) * stage->panel * all->planes * kind->shape.taps;
    if (!refusal && elements * j->size > FC_GEMM_PACKED_BYTES) refusal = "packed weights take more than 12 MiB";
    if (!refusal) add_up(stage, residue, (int)kind->shape.residues);
    unbind(stage);
    kind->stage[1] = *stage;
    return refusal;
}

/* ---- The survey ---- */

static unsigned arrangements_of(const fc_gemm_kind *kind) {
    return 1u << kind->stage[0].arrangement | 1u << kind->stage[1].arrangement;
}

/* `count` correlations that are alike, with the arrangements among those seen. */
static void add_alone(fc_gemm_kinds *s, fc_conv_job *j, const fc_correlation *correlation, ptrdiff_t count,
                      unsigned *seen) {
    const fc_correlation c = fc_merge_axes(correlation);
    const fc_gemm_shape shape = shape_of(&c);
    fc_gemm_kind *kind = find_or_add(s, &shape);
    if (!kind) return;
    if (!kind->count) s->refusal = plan_alone(j, s->variant, &c, kind);
    if (s->refusal) return;
    kind->count += count;
    *seen |= arrangements_of(kind);
}

/* Whether residues are summed together; if the variant demands it and they cannot be, it is refused. */
static int add_together(fc_gemm_kinds *s, fc_conv_job *j, const fc_correlation *residue, int residues) {
    fc_correlation all;
    const char *refusal = "residues of dx read positions that lie apart";
    fc_gemm_kind *kind = NULL;
    if (find_all_positions(residue, residues, &all)) {
        const fc_gemm_shape shape = shape_of_residues(&all, residue, residues);
        if (memcmp(&shape, &s->one_by_one, sizeof shape) == 0) return 0;
        kind = find_or_add(s, &shape);
        if (!kind) return 0;
        refusal = kind->count ? NULL : plan_together(j, s->variant, &all, residue, kind);
    }
    if (!refusal) {
        kind->count++;
        s->together |= arrangements_of(kind);
        return 1;
    }
    if (s->variant != FC_GEMM_MIXED) s->refusal = refusal;
    if (kind) {
        s->one_by_one = kind->shape;
        s->count--;
    }
    return 0;
}

static void add_residues(fc_conv_job *j, void *context, const fc_correlation *residue, int lines, int residues) {
    fc_gemm_kinds *s = context;
    const int count = lines * residues;
    if (s->refusal || s->status != FC_OK) return;
    if (count > 1 && s->variant >= FC_GEMM_MIXED && add_together(s, j, residue, count)) return;
    for (int i = 0; i < count && !s->refusal && s->status == FC_OK; i++)
        add_alone(s, j, &residue[i], 1, count > 1 ? &s->apart : &s->single);
}

/* Output planes of a volume are of two kinds: those that read a plane of the padding, and the others. */
static void add_output_planes(fc_gemm_kinds *s, fc_conv_job *j) {
    const fc_conv_problem *p = j->p;
    ptrdiff_t first[2], count[2] = {0, 0};
    for (ptrdiff_t o = 0; o < p->out_size[0]; o++) {
        const ptrdiff_t low = o * p->stride[0] - p->pad[0], high = low + (p->kernel[0] - 1) * p->dilation[0];
        const int has_all = low >= 0 && high < p->in_size[0];
        if (!count[has_all]++) first[has_all] = o;
    }
    for (int i = 1; i >= 0; i--) {
        if (!count[i] || s->refusal) continue;
        const fc_correlation c = fc_conv_forward_correlation(j, 0, first[i]);
        add_alone(s, j, &c, count[i], &s->single);
    }
}

fc_gemm_kinds fc_gemm_survey(fc_op op, const fc_conv_problem *p, int variant) {
    fc_gemm_kinds s = {.variant = variant};
    fc_conv_job j = fc_conv_start(p, NULL, NULL);
    if (!j.plane) s.status = FC_NO_MEMORY;
    else if (op == FC_FORWARD) add_output_planes(&s, &j);
    else fc_conv_backward_data(&j, 1, add_residues, &s);
    fc_conv_end(&j);
    if (s.status == FC_OK && variant > FC_GEMM_MIXED && !s.together && !s.refusal)
        s.refusal = "dx has no residues of a stride";
    return s;
}

void fc_gemm_forget(fc_gemm_kinds *s) { free(s->kind); }

int fc_gemm_variant(const fc_gemm_kinds *s) {
    const unsigned alone = s->apart | s->single;
    if (s->together == 1u << FC_GEMM_PIXELS && !s->apart && !(s->single & ~s->together)) return FC_GEMM_TOGETHER_PIXELS;
    if (s->together == 1u << FC_GEMM_CHANNELS && !s->apart && !(s->single & ~s->together))
        return FC_GEMM_TOGETHER_CHANNELS;
    if (s->together) return FC_GEMM_MIXED;
    for (int i = 0; i < FC_GEMM_ARRANGEMENTS; i++)
        if (!(alone & ~(1u << i))) return i;
    return FC_GEMM_MIXED;
}

double fc_gemm_cycles(const fc_gemm_kinds *s, ptrdiff_t groups) {
    double cycles = 0;
    for (ptrdiff_t i = 0; i < s->count; i++) {
        const fc_gemm_kind *kind = &s->kind[i];
        const ptrdiff_t channels = kind->shape.out_channels, rest = channels % kind->at_once;
        const double whole = (double)(channels / kind->at_once) * kind->stage[0].cycles;
        const double each = whole + (rest ? kind->stage[1].cycles : 0);
        cycles += (double)kind->count * each;
    }
    return cycles * (double)groups;
}
