/* Depthwise convolutions, groups of few channels, dx of few input channels: every tap in place, over the planes
 * themselves (in_place.c) or over padded copies of their bands (bands.c), and dw of either (weights.c). */
#include <stdio.h>
#include <string.h>

#include "../../platform/memory.h"
#include "bands.h"
#include "choice.h"
#include "cost.h"
#include "in_place.h"
#include "weights.h"

/* What runs correlations that run together; one of its last three. */
typedef struct stage stage;
struct stage {
    stage *next;
    fc_direct_arrangement arrangement;
    int lines, residues;
    int order[FC_MAX_RESIDUES]; /* which of those that are given stands where */
    fc_direct_in_place *in_place;
    fc_direct_bands *bands;
    fc_direct_weights *weights;
};

/* Output planes that share their stages: those of dx to which as many planes contribute, of y and dw those all of whose
 * planes lie on the data, and the others. */
typedef struct kind kind;
struct kind {
    kind *next;
    ptrdiff_t planes;
    int all_planes;
    stage *first; /* of one output plane, in the order in which they run */
};

static fc_groups groups_of(const fc_conv_job *j, fc_op op) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t x = j->C * p->x_strides[1], w = j->K * p->w_strides[0], y = j->K * p->y_strides[1];
    return op == FC_BACKWARD_DATA ? (fc_groups){p->groups, y, w, x} : (fc_groups){p->groups, x, w, y};
}

/* Whether the residues of a line are all those of the stride; puts `order` in that of their targets. */
static int order_line(const fc_correlation *given, int *order, int residues) {
    for (int i = 1; i < residues; i++)
        for (int k = i; k > 0 && given[order[k]].y_first < given[order[k - 1]].y_first; k--) {
            const int other = order[k];
            order[k] = order[k - 1];
            order[k - 1] = other;
        }
    for (int i = 0; i < residues; i++) {
        const fc_correlation *own = &given[order[i]];
        if (own->y_first != given[order[0]].y_first + i) return 0;
        if (own->axis[1].outputs > 1 && own->axis[1].target_stride != residues) return 0;
    }
    return residues > 1;
}

/* The order in which correlations that run together are to stand; whether all lines are interleaved. */
static int order_residues(const fc_correlation *given, int lines, int residues, int *order) {
    int interleaved = 1;
    for (int i = 0; i < lines * residues; i++) order[i] = i;
    for (int line = 0; line < lines; line++) interleaved &= order_line(given, order + line * residues, residues);
    return interleaved;
}

/* Whether its lines are interleaved is asked by plans alone. */
static void start_job(fc_direct_job *job, fc_conv_job *j, fc_op op, const fc_correlation *given, int lines,
                      int residues, const int *order) {
    job->conv = j;
    job->groups = groups_of(j, op);
    job->lines = lines;
    job->residues = residues;
    job->interleaved = 0;
    for (int i = 0; i < lines * residues; i++) job->residue[i] = given[order[i]];
}

/* ---- Each kind of output plane once ---- */

typedef struct visitor visitor;
struct visitor {
    fc_op op;
    int every;                                                 /* output planes one by one, not each kind once */
    void (*see_kind)(visitor *v, const fc_correlation *first); /* NULL: it does not matter */
    void (*see)(visitor *v, const fc_direct_job *job, const int *order);
};

/* A visitor, and whether a kind of output planes begins. */
typedef struct {
    visitor *visitor;
    int begins;
} visit;

static void visit_residues(fc_conv_job *j, void *context, const fc_correlation *residue, int lines, int residues) {
    visit *own = context;
    visitor *v = own->visitor;
    int order[FC_MAX_RESIDUES];
    fc_direct_job job;
    const int interleaved = order_residues(residue, lines, residues, order);
    start_job(&job, j, v->op, residue, lines, residues, order);
    job.interleaved = interleaved;
    if (own->begins && v->see_kind) v->see_kind(v, residue);
    own->begins = 0;
    v->see(v, &job, order);
}

/* Taps of the depth axis through which plane i of dx reads dy. */
static ptrdiff_t depth_taps(const fc_conv_problem *p, ptrdiff_t i) {
    ptrdiff_t count = 0;
    for (ptrdiff_t t = 0; t < p->kernel[0]; t++) {
        const ptrdiff_t scaled = i + p->pad[0] - t * p->dilation[0];
        count += scaled >= 0 && scaled % p->stride[0] == 0 && scaled / p->stride[0] < p->out_size[0];
    }
    return count;
}

/* dx: kinds have 1 to kernel[0] taps of the depth axis; each is seen where it is met first. */
static void visit_dx(fc_conv_job *j, visit *own) {
    const fc_conv_problem *p = j->p;
    const size_t bytes = (size_t)p->kernel[0] + 1;
    char *seen = fc_scratch_acquire(bytes);
    if (!seen) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    memset(seen, 0, bytes);
    for (ptrdiff_t i = 0; i < p->in_size[0]; i++) {
        const ptrdiff_t taps = depth_taps(p, i);
        if (!taps || (seen[taps] && !own->visitor->every)) continue;
        seen[taps] = 1;
        own->begins = 1;
        fc_conv_backward_plane(j, 0, i, visit_residues, own);
    }
    fc_scratch_release(seen);
}

/* y and dw: kinds are output planes all of whose planes lie on the data, and the others. */
static void visit_outputs(fc_conv_job *j, visit *own) {
    const fc_axis depth = fc_conv_forward_axis(j->p, 0);
    int seen[2] = {0, 0};
    const int every = own->visitor->every;
    for (ptrdiff_t o = 0, end; o < depth.outputs && (every || !(seen[0] && seen[1])); o = end) {
        const fc_taps_inside taps = fc_inside(&depth, o);
        const int all = taps.last - taps.first == depth.taps;
        end = every ? o + 1 : fc_end_of_alike(&depth, o, depth.outputs);
        if (seen[all] && !every) continue;
        seen[all] = 1;
        own->begins = 1;
        const fc_correlation c = fc_conv_forward_correlation(j, 0, o);
        visit_residues(j, own, &c, 1, 1);
    }
}

static void visit_kinds(fc_conv_job *j, visitor *v) {
    visit own = {v, 1};
    if (v->op == FC_BACKWARD_DATA) visit_dx(j, &own);
    else visit_outputs(j, &own);
}

/* ---- What is asked ---- */

typedef struct {
    visitor visitor;
    fc_direct_arrangement arrangement;
    const char *refusal, *doubt; /* of it */
    unsigned chosen;             /* a bit for each arrangement that some correlation would have */
} question;

static void ask(visitor *v, const fc_direct_job *job, const int *order) {
    question *q = (question *)v;
    (void)order;
    q->chosen |= 1u << fc_direct_choose(v->op, job);
    if (q->arrangement == FC_DIRECT_MIXED) return;
    if (!q->refusal) q->refusal = fc_direct_refuses(q->arrangement, v->op, job);
    if (!q->refusal && !q->doubt) q->doubt = fc_direct_doubts(q->arrangement, v->op, job);
}

static question answer(const fc_path *path, fc_op op, const fc_problem *problem) {
    question q = {.visitor = {.op = op, .see = ask}, .arrangement = (fc_direct_arrangement)path->variant};
    fc_conv_job j = fc_conv_start(&problem->conv, NULL, NULL);
    if (j.plane) visit_kinds(&j, &q.visitor);
    if (fc_conv_end(&j) != FC_OK || !j.plane) q.refusal = "there is no memory to survey its correlations";
    if (q.arrangement == FC_DIRECT_MIXED && !(q.chosen & (q.chosen - 1)))
        q.refusal = "one arrangement serves all correlations of the problem";
    return q;
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const char *refusal = fc_direct_refuses_problem(op, &problem->conv);
    return refusal ? refusal : answer(path, op, problem).refusal;
}

static const char *doubt(const fc_path *path, fc_op op, const fc_problem *problem) {
    return answer(path, op, problem).doubt;
}

typedef struct {
    visitor visitor;
    fc_direct_arrangement arrangement;
    double cycles;
} estimate;

static void add_cycles(visitor *v, const fc_direct_job *job, const int *order) {
    estimate *e = (estimate *)v;
    const int is_mixed = e->arrangement == FC_DIRECT_MIXED;
    (void)order;
    e->cycles += fc_direct_cycles(is_mixed ? fc_direct_choose(v->op, job) : e->arrangement, v->op, job);
}

static double cycles(const fc_path *path, fc_op op, const fc_problem *problem) {
    estimate e = {.visitor = {.op = op, .every = 1, .see = add_cycles},
                  .arrangement = (fc_direct_arrangement)path->variant};
    fc_conv_job j = fc_conv_start(&problem->conv, NULL, NULL);
    if (j.plane) visit_kinds(&j, &e.visitor);
    fc_conv_end(&j);
    return e.cycles;
}

static const char *doubts_all(fc_op op, const fc_problem *problem) {
    return fc_direct_doubts_problem(op, &problem->conv);
}

/* ---- Plans ---- */

typedef struct {
    visitor visitor;
    fc_plan *plan;
    fc_direct_arrangement arrangement;
    kind **next_kind;
    stage **next_stage;
    fc_status status;
} planner;

static void begin_kind(visitor *v, const fc_correlation *first) {
    planner *own = (planner *)v;
    kind *made = fc_plan_allocate(own->plan, sizeof *made);
    if (!made) {
        own->status = FC_NO_MEMORY;
        return;
    }
    made->planes = first->planes;
    made->all_planes = fc_has_all_planes(first);
    *own->next_kind = made;
    own->next_kind = &made->next;
    own->next_stage = &made->first;
}

static void plan_stage(visitor *v, const fc_direct_job *job, const int *order) {
    planner *own = (planner *)v;
    if (own->status != FC_OK) return;
    stage *made = fc_plan_allocate(own->plan, sizeof *made);
    own->status = FC_NO_MEMORY;
    if (!made) return;
    made->arrangement = own->arrangement == FC_DIRECT_MIXED ? fc_direct_choose(v->op, job) : own->arrangement;
    made->lines = job->lines;
    made->residues = job->residues;
    for (int i = 0; i < fc_direct_count(job); i++) made->order[i] = order[i];
    FC_ASSERT(!fc_direct_refuses(made->arrangement, v->op, job));
    if (v->op == FC_BACKWARD_WEIGHTS)
        made->weights = fc_direct_plan_weights(own->plan, job, made->arrangement);
    else if (made->arrangement == FC_DIRECT_IN_PLACE || made->arrangement == FC_DIRECT_NARROW)
        made->in_place = fc_direct_plan_in_place(own->plan, job, made->arrangement);
    else
        made->bands = fc_direct_plan_bands(own->plan, job, made->arrangement);
    if (!made->weights && !made->in_place && !made->bands) return;
    own->status = FC_OK;
    *own->next_stage = made;
    own->next_stage = &made->next;
}

/* The state is the first kind; NULL: no tap of dx meets dy. */
static fc_status create(fc_plan *plan) {
    kind *first = NULL;
    planner own = {
        .visitor = {.op = plan->op, .see_kind = begin_kind, .see = plan_stage},
        .plan = plan,
        .arrangement = (fc_direct_arrangement)plan->path->variant,
        .next_kind = &first,
        .status = FC_OK,
    };
    fc_conv_job j = fc_conv_start(&plan->problem.conv, NULL, NULL);
    if (!j.plane) return FC_NO_MEMORY;
    visit_kinds(&j, &own.visitor);
    plan->state = first;
    const fc_status status = fc_conv_end(&j);
    return status != FC_OK ? status : own.status;
}

/* ---- Runs ---- */

static const kind *find_kind(const kind *first, const fc_correlation *c) {
    const int all_planes = fc_has_all_planes(c);
    while (first->planes != c->planes || first->all_planes != all_planes) {
        first = first->next;
        FC_ASSERT(first);
    }
    return first;
}

static void run_stage(const stage *s, fc_conv_job *j, fc_op op, const fc_correlation *given) {
    fc_direct_job job;
    start_job(&job, j, op, given, s->lines, s->residues, s->order);
    if (s->in_place) fc_direct_run_in_place(s->in_place, &job);
    else fc_direct_run_bands(s->bands, &job);
}

/* Where the residues of dx are: those of a plane begin after the last stage of the plane before. */
typedef struct {
    const kind *kinds;
    const stage *next;
} progress;

static void run_residues(fc_conv_job *j, void *context, const fc_correlation *residue, int lines, int residues) {
    progress *own = context;
    if (!own->next) own->next = find_kind(own->kinds, residue)->first;
    const stage *s = own->next;
    FC_ASSERT(s->lines == lines && s->residues == residues);
    (void)lines, (void)residues;
    run_stage(s, j, FC_BACKWARD_DATA, residue);
    own->next = s->next;
}

static void run_outputs(const fc_plan *plan, fc_conv_job *j) {
    const ptrdiff_t outputs = j->p->out_size[0];
    for (ptrdiff_t o = 0; o < outputs && j->run.status == FC_OK; o++) {
        const fc_correlation c = fc_conv_forward_correlation(j, 0, o);
        const stage *s = find_kind(plan->state, &c)->first;
        if (plan->op == FC_FORWARD) {
            run_stage(s, j, FC_FORWARD, &c);
            continue;
        }
        const fc_weights_gradient gradient = fc_conv_weights_gradient(j, 0, &c);
        fc_direct_job job;
        start_job(&job, j, plan->op, &c, 1, 1, s->order);
        fc_direct_run_weights(s->weights, &job, &gradient, o > 0, o == outputs - 1);
    }
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    fc_conv_job j = fc_conv_start(&plan->problem.conv, a, interrupted);
    if (!j.plane) return FC_NO_MEMORY;
    progress own = {plan->state, NULL};
    if (plan->op == FC_BACKWARD_DATA) fc_conv_backward_data(&j, 1, run_residues, &own);
    else run_outputs(plan, &j);
    return fc_conv_end(&j);
}

static void describe_stage(const stage *s, const fc_kernels *kernels, fc_description *d) {
    if (s->weights) fc_direct_describe_weights(s->weights, d);
    else if (s->in_place) fc_direct_describe_in_place(s->in_place, kernels, d);
    else fc_direct_describe_bands(s->bands, d);
}

/* Describes the stage with the largest blocks; the memory is that of the stage that takes the most. */
static void describe(const fc_plan *plan, fc_description *d) {
    static const char *const names[] = {
        [FC_DIRECT_CHANNELS] = " channels",
        [FC_DIRECT_NARROW] = " narrow",
        [FC_DIRECT_TRANSPOSED] = " transposed",
        [FC_DIRECT_IN_PLACE] = " in_place",
        [FC_DIRECT_COPIES] = " copies",
    };
    const fc_call *call = &plan->problem.call;
    const fc_description before = *d;
    unsigned arrangements = 0;
    size_t workspace = 0;
    for (const kind *k = plan->state; k; k = k->next)
        for (const stage *s = k->first; s; s = s->next) {
            fc_description own = before;
            arrangements |= 1u << s->arrangement;
            describe_stage(s, fc_find_kernels(call->isa, call->dtype), &own);
            if (own.workspace > workspace) workspace = own.workspace;
            if (own.block[0] * own.block[1] * own.block[2] > d->block[0] * d->block[1] * d->block[2]) *d = own;
        }
    if (plan->path->variant == FC_DIRECT_MIXED) {
        const fc_description largest = *d;
        const char *own[FC_DIRECT_MIXED] = {"", "", "", "", ""};
        for (int i = 0; i < FC_DIRECT_MIXED; i++)
            if (arrangements >> i & 1) own[i] = names[i];
        snprintf(d->how, sizeof d->how, "planes of outputs in arrangements%s%s%s%s%s, of the largest blocks: %.200s",
                 own[0], own[1], own[2], own[3], own[4], largest.how);
    }
    d->workspace = workspace;
    if (!plan->state) snprintf(d->how, sizeof d->how, "no tap meets dy");
}

static const fc_algorithm algorithm = {doubts_all};

#define FC_DIRECT_PATH(arrangement, path_name)                                                                  \
    {                                                                                                           \
        .name = "direct/" path_name, .algorithm = &algorithm, .variant = arrangement, .exact = 1,              \
        .refuses = refuses, .doubt = doubt, .cycles = cycles, .create = create, .run = run,                    \
        .describe = describe,                                                                                  \
    }

const fc_path fc_path_direct_channels = FC_DIRECT_PATH(FC_DIRECT_CHANNELS, "channels");
const fc_path fc_path_direct_narrow = FC_DIRECT_PATH(FC_DIRECT_NARROW, "narrow");
const fc_path fc_path_direct_transposed = FC_DIRECT_PATH(FC_DIRECT_TRANSPOSED, "transposed");
const fc_path fc_path_direct_in_place = FC_DIRECT_PATH(FC_DIRECT_IN_PLACE, "in_place");
const fc_path fc_path_direct_copies = FC_DIRECT_PATH(FC_DIRECT_COPIES, "copies");
const fc_path fc_path_direct_mixed = FC_DIRECT_PATH(FC_DIRECT_MIXED, "mixed");
