/* Paths of backward weights by gathered GEMMs: any geometry, any strides.
 *
 * Each output plane of each group is a gradient of its own: the first is written, the others are added to it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../../arithmetic.h"
#include "../correlations.h"
#include "limits.h"
#include "weights.h"

/* fc_path.variant. */
enum { FEW_SUMS, MIXED, BY_TAP, FIRST_BY_TAP, BY_BLOCK };

/* Output planes that are laid out alike: the first one, whose sums are not added to others, and of the rest those that
 * see no padding before or after the planes of x, and those that do. */
typedef enum { FIRST, WHOLE, CUT, CLASSES } plane_class;

typedef struct {
    int arrangement; /* FEW_SUMS, BY_TAP or BY_BLOCK */
    fc_weights_tasks tasks;
    union {
        fc_few_sums_layout few_sums;
        fc_weights_layout blocks;
    };
} stage;

typedef struct {
    const stage *of[CLASSES]; /* NULL: no output plane is of the class */
} state;

static plane_class class_of(const fc_conv_problem *p, ptrdiff_t o) {
    const ptrdiff_t first = o * p->stride[0] - p->pad[0], last = first + (p->kernel[0] - 1) * p->dilation[0];
    return o == 0 ? FIRST : first >= 0 && last < p->in_size[0] ? WHOLE : CUT;
}

/* The gradient of output plane o of group g; `gradient` receives it, and it uses the lists of the job. */
static fc_weights_call call_of(fc_conv_job *j, ptrdiff_t g, ptrdiff_t o, fc_weights_gradient *gradient) {
    const fc_correlation c = fc_conv_forward_correlation(j, g, o);
    *gradient = fc_conv_weights_gradient(j, g, &c);
    return (fc_weights_call){j->kernels, j->size, &j->run, gradient, o > 0};
}

/* Calls `each` for one output plane of each class that there is, and gives it their number; without memory for none. */
static void for_classes(const fc_conv_problem *p, void *context,
                        void (*each)(void *context, plane_class class, const fc_weights_call *call, ptrdiff_t planes)) {
    ptrdiff_t some[CLASSES], count[CLASSES] = {0};
    fc_conv_job j = fc_conv_start(p, NULL, NULL);
    for (ptrdiff_t o = 0; o < p->out_size[0]; o++) {
        const plane_class class = class_of(p, o);
        if (!count[class]++) some[class] = o;
    }
    for (int class = 0; j.plane && class < CLASSES; class++) {
        if (!count[class]) continue;
        fc_weights_gradient gradient;
        const fc_weights_call call = call_of(&j, 0, some[class], &gradient);
        each(context, (plane_class)class, &call, count[class]);
    }
    fc_conv_end(&j);
}

/* ---- The choice ---- */

static int suits_few_sums(const fc_weights_call *call) {
    return !fc_few_sums_refusal(call) && !fc_few_sums_doubt(call);
}

static int arrangement_of(int variant, plane_class class, const fc_weights_call *call) {
    if (variant == MIXED) return suits_few_sums(call) ? FEW_SUMS : BY_BLOCK;
    if (variant == FIRST_BY_TAP) return class == FIRST ? BY_TAP : BY_BLOCK;
    return variant;
}

/* What the classes of output planes answer. */
typedef struct {
    int classes;
    const char *refusal, *doubt, *tap_refusal, *tap_doubt; /* of few sums in any; of the first one by tap; or NULL */
    int suited, others;                                    /* classes for which few sums are to be taken, and not */
} answers;

static void ask_class(void *context, plane_class class, const fc_weights_call *call, ptrdiff_t planes) {
    answers *all = context;
    (void)planes;
    all->classes++;
    if (!all->refusal) all->refusal = fc_few_sums_refusal(call);
    if (!all->refusal && !all->doubt) all->doubt = fc_few_sums_doubt(call);
    *(suits_few_sums(call) ? &all->suited : &all->others) += 1;
    if (class != FIRST) return;
    all->tap_refusal = fc_weights_by_tap_refusal(call);
    if (!all->tap_refusal) all->tap_doubt = fc_weights_by_tap_doubt(call);
}

static answers ask(const fc_problem *problem) {
    answers all = {0};
    for_classes(&problem->conv, &all, ask_class);
    if (!all.classes && problem->conv.batch) all.refusal = all.tap_refusal = "there is no memory to survey its planes";
    return all;
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const char *reason = fc_gemm_refusal(op, &problem->conv);
    const int is_volume = problem->conv.out_size[0] > 1;
    if (reason || path->variant == BY_BLOCK) return reason;
    const answers all = ask(problem);
    switch (path->variant) {
    case FEW_SUMS:
        return all.refusal;
    case MIXED:
        return all.suited && all.others ? NULL : all.refusal ? all.refusal : "one arrangement serves all output planes";
    case BY_TAP:
        return is_volume ? "there are several output planes, whose sums are added up" : all.tap_refusal;
    default:
        return is_volume ? all.tap_refusal : "there is one output plane";
    }
}

static const char *doubt(const fc_path *path, fc_op op, const fc_problem *problem) {
    (void)op;
    switch (path->variant) {
    case FEW_SUMS:
        return ask(problem).doubt;
    case BY_TAP:
    case FIRST_BY_TAP:
        return ask(problem).tap_doubt;
    default:
        return NULL;
    }
}

typedef struct {
    int variant;
    double cycles;
} estimate;

static void add_cycles(void *context, plane_class class, const fc_weights_call *call, ptrdiff_t planes) {
    estimate *all = context;
    const fc_correlation *c = &call->gradient->c;
    const double pixels = (double)(c->images * planes) * (double)(c->axis[0].outputs * c->axis[1].outputs);
    const int is_few = arrangement_of(all->variant, class, call) == FEW_SUMS;
    all->cycles += pixels * (is_few ? fc_few_sums_cycles(call) : fc_weights_cycles(call));
}

/* The estimates were fitted where few sums have a kernel, to dw alone. */
static double cycles(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    const fc_kernels *kernels = fc_find_kernels(p->call.isa, p->call.dtype);
    estimate all = {.variant = path->variant};
    (void)op;
    if (!kernels->pixel_dots[0] || !p->has_w || !p->batch) return 0;
    for_classes(p, &all, add_cycles);
    return all.cycles * (double)p->groups;
}

/* ---- The plan ---- */

typedef struct {
    fc_plan *plan;
    state *state;
    fc_status status;
} creation;

static void create_stage(void *context, plane_class class, const fc_weights_call *call, ptrdiff_t planes) {
    creation *all = context;
    stage *s = fc_plan_allocate(all->plan, sizeof *s);
    (void)planes;
    if (!s) {
        all->status = FC_NO_MEMORY;
        return;
    }
    s->arrangement = arrangement_of(all->plan->path->variant, class, call);
    if (s->arrangement == FEW_SUMS) s->few_sums = fc_lay_out_few_sums(call);
    else s->blocks = fc_lay_out_weights(call, s->arrangement == BY_TAP);
    s->tasks = s->arrangement == FEW_SUMS ? s->few_sums.tasks : s->blocks.tasks;
    all->state->of[class] = s;
}

static fc_status create(fc_plan *plan) {
    creation all = {.plan = plan, .state = fc_plan_allocate(plan, sizeof(state)), .status = FC_OK};
    if (!all.state) return FC_NO_MEMORY;
    for_classes(&plan->problem.conv, &all, create_stage);
    plan->state = all.state;
    return all.state->of[FIRST] ? all.status : FC_NO_MEMORY;
}

static int run_stage(const stage *s, const fc_weights_call *call) {
    if (s->arrangement != FEW_SUMS) return fc_run_weights(&s->blocks, call);
    fc_run_few_sums(&s->few_sums, call);
    return 1;
}

/* By tap, a group whose dy is not finite is done again by the fallback's blocks: the others keep their sums. */
static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    const fc_conv_problem *p = &plan->problem.conv;
    const state *own = plan->state, *again = plan->fallback ? plan->fallback->state : NULL;
    fc_conv_job j = fc_conv_start(p, a, interrupted);
    if (!j.plane) return FC_NO_MEMORY;
    FC_ASSERT(!again || plan->fallback->path == &fc_path_gemm_dw_by_block);
    for (ptrdiff_t g = 0; g < p->groups; g++)
        for (ptrdiff_t o = 0; o < p->out_size[0] && j.run.status == FC_OK; o++) {
            const plane_class class = class_of(p, o);
            fc_weights_gradient gradient;
            const fc_weights_call call = call_of(&j, g, o, &gradient);
            FC_ASSERT(class == FIRST || (class == WHOLE) == fc_has_all_planes(&gradient.c));
            if (!run_stage(own->of[class], &call)) run_stage(again->of[class], &call);
        }
    return fc_conv_end(&j);
}

/* ---- What it says ---- */

/* The stage of most output planes, and one of another arrangement, or NULL. */
static const stage *main_stage(const state *s) {
    return s->of[WHOLE] ? s->of[WHOLE] : s->of[CUT] ? s->of[CUT] : s->of[FIRST];
}

static const stage *other_stage(const state *s) {
    for (int class = 0; class < CLASSES; class++)
        if (s->of[class] && s->of[class]->arrangement != main_stage(s)->arrangement) return s->of[class];
    return NULL;
}

/* Appends to d->how. */
static void say(fc_description *d, const char *format, ...) {
    const size_t said = strlen(d->how);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(d->how + said, sizeof d->how - said, format, arguments);
    va_end(arguments);
}

static void describe_stage(const stage *s, fc_description *d) {
    const fc_weights_layout *l = &s->blocks;
    const ptrdiff_t partials = s->arrangement == FEW_SUMS ? s->few_sums.partials : l->partials;
    if (partials > 1) say(d, "%td partial results of ", partials);
    if (s->arrangement == FEW_SUMS) {
        say(d, "dot products with pixels in the vector, dy read in place, planes %s",
            s->few_sums.blocks.in_place ? "read in place" : "copied");
        return;
    }
    say(d, "a GEMM over the pixels of blocks");
    if (l->by_tap) say(d, ", tap by tap without those whose tap lies in the padding");
    if (l->panel) say(d, ", planes copied in panels of %td, %td at a time", l->panel, l->planes);
    else if (l->blocks.in_place) say(d, ", planes read in place");
    else say(d, ", planes copied, %td at a time", l->planes);
    say(d, ", dy %s", l->dy_in_place ? "read in place" : "transposed");
    if (l->ranges > 1) say(d, ", %td ranges of planes", l->ranges);
}

static void describe(const fc_plan *plan, fc_description *d) {
    const state *s = plan->state;
    const stage *common = main_stage(s), *other = other_stage(s);
    const fc_kernels *k = fc_find_kernels(plan->problem.call.isa, plan->problem.call.dtype);
    const fc_blocks *b = common->arrangement == FEW_SUMS ? &common->few_sums.blocks : &common->blocks.blocks;
    describe_stage(common, d);
    if (other) {
        say(d, other == s->of[FIRST] ? "; the first output plane: " : "; other output planes: ");
        describe_stage(other, d);
    }
    d->tile[0] = common->arrangement == FEW_SUMS ? FC_DOT_ROWS : common->blocks.tile_rows;
    d->tile[1] = common->arrangement == FEW_SUMS ? k->pixel_dots_taps : common->blocks.tile_vectors * k->lanes;
    for (int i = 0; i < 3; i++) d->block[i] = b->size[i];
    d->tasks = common->tasks.tasks;
    for (int class = 0; class < CLASSES; class++) {
        if (!s->of[class]) continue;
        const fc_weights_tasks *t = &s->of[class]->tasks;
        const size_t bytes = t->shared_bytes + (size_t)t->tasks * t->task_bytes;
        if (bytes > d->workspace) d->workspace = bytes;
    }
}

#define FC_GEMM_DW_PATH(title, number) \
    .name = "implicit_gemm/" title, .variant = number, .exact = 1, .refuses = refuses, .create = create, .run = run, \
    .describe = describe

const fc_path fc_path_gemm_dw_few_sums = {FC_GEMM_DW_PATH("few_sums", FEW_SUMS), .doubt = doubt, .cycles = cycles};
const fc_path fc_path_gemm_dw_mixed = {FC_GEMM_DW_PATH("mixed", MIXED), .cycles = cycles};
const fc_path fc_path_gemm_dw_by_tap = {
    FC_GEMM_DW_PATH("by_tap", BY_TAP), .doubt = doubt, .fallback = "implicit_gemm/by_block",
};
const fc_path fc_path_gemm_dw_first_by_tap = {
    FC_GEMM_DW_PATH("first_by_tap", FIRST_BY_TAP), .doubt = doubt, .fallback = "implicit_gemm/by_block",
};
const fc_path fc_path_gemm_dw_by_block = {FC_GEMM_DW_PATH("by_block", BY_BLOCK), .cycles = cycles};
