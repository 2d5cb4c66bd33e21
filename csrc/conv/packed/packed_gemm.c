/* Products of matrices, y and dx: what a block of outputs reads is packed into panels, one line a term, and multiplied
 * by all output channels. No offsets are left to the kernel, so a term is a few loads and its multiply-adds.
 *
 * A block's panels stay in L2 (FC_PACKED_BLOCK_BYTES), a register tile's weights in L1: for each tile of channels all
 * panels of the block follow one another. Weights are read where they lie if their terms lie evenly; else they are
 * packed for each tile first. */
#include <stdio.h>
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "../../tuning.h"
#include "../algorithm.h"
#include "../correlations.h"
#include "panels.h"

/* How a correlation is cut. */
typedef struct {
    ptrdiff_t outputs, depth, channels;
    ptrdiff_t step;   /* elements between terms of weights that are read where they lie, 0: they are packed */
    ptrdiff_t chunk;  /* terms that are packed and summed at a time */
    ptrdiff_t panels; /* of all outputs */
    ptrdiff_t blocks; /* into which panels are dealt evenly */
    ptrdiff_t ranges; /* of output channels, of each block: tasks share them where blocks are few */
    ptrdiff_t tasks;
} layout;

/* Elements between the weights of terms of a channel, if they lie evenly, else 0. */
static ptrdiff_t even_step(const fc_correlation *c) {
    if (fc_weights_are_in_order(c)) return 1;
    const ptrdiff_t step = c->planes > 1 ? c->w_plane[1] - c->w_plane[0] : 0;
    if (c->axis[0].taps * c->axis[1].taps > 1 || step < 0) return 0;
    for (ptrdiff_t i = 2; i < c->planes; i++)
        if (c->w_plane[i] - c->w_plane[i - 1] != step) return 0;
    return step;
}

static ptrdiff_t outputs_of(const fc_correlation *c) { return c->images * c->axis[0].outputs * c->axis[1].outputs; }
static ptrdiff_t terms_of(const fc_correlation *c) { return c->planes * c->axis[0].taps * c->axis[1].taps; }

/* Elements between the weights of terms that are read where they lie, or 0: they are packed. */
static ptrdiff_t step_of_terms(const fc_kernels *k, const fc_correlation *c) {
    const ptrdiff_t step = even_step(c), panels = quotient_up(outputs_of(c), fc_panel_width(k));
    return step > 1 && panels > FC_PACKED_FEW_PANELS ? 0 : step;
}

/* ---- Estimates ---- */

/* Cycles of a term of all register tiles of so many channels over so many vectors. */
static double tile_cycles(const fc_kernels *k, ptrdiff_t channels, ptrdiff_t vectors) {
    const ptrdiff_t tiles = quotient_up(channels, k->panel_rows);
    const double rows = (double)channels / (double)tiles;
    const double loads = (rows + (double)vectors) / 2, multiplies = rows * (double)vectors / 2;
    const double longest = multiplies > loads ? multiplies : loads;
    return (double)tiles * (longest > FC_PACKED_LATENCY ? longest : FC_PACKED_LATENCY);
}

/* Cycles of so many panels, and of packing them, for a range of channels. */
static double unit_cycles(const fc_kernels *k, const layout *l, double panels, double channels) {
    const double terms = (double)l->depth, width = (double)fc_panel_width(k);
    const double tiles = channels / (double)l->channels * tile_cycles(k, l->channels, FC_PANEL_VECTORS);
    const double stores = FC_PACKED_STORE * (double)quotient_up(l->depth, l->chunk) * channels;
    return panels * (terms * (tiles + FC_PACKED_PACK * width) + stores);
}

/* ---- How it is cut ---- */

static layout lay_out(const fc_kernels *k, ptrdiff_t size, const fc_correlation *c, ptrdiff_t threads) {
    const ptrdiff_t width = fc_panel_width(k);
    FC_ASSERT(outputs_of(c) > 0 && terms_of(c) > 0 && c->out_channels > 0);
    layout l = {.outputs = outputs_of(c), .depth = terms_of(c), .channels = c->out_channels};
    l.panels = quotient_up(l.outputs, width);
    l.step = step_of_terms(k, c);
    l.chunk = even_block(l.depth, l.step > 1 ? FC_PACKED_FEW_TERMS : FC_PACKED_CHAIN);
    const ptrdiff_t of_block =
        max(1, min(FC_PACKED_BLOCK_OUTPUTS / width, FC_PACKED_BLOCK_BYTES / (l.chunk * width * size)));
    const ptrdiff_t blocks = quotient_up(l.panels, of_block);
    const ptrdiff_t max_ranges = max(1, min(threads, l.channels / k->panel_rows));
    double best = 0;
    for (ptrdiff_t ranges = 1; ranges <= max_ranges; ranges++) {
        /* As many blocks as fit L2, or as make all threads end together. */
        const ptrdiff_t even = quotient_up(blocks * ranges, threads) * threads / ranges;
        for (ptrdiff_t b = blocks; b <= min(even, l.panels); b += max(1, even - blocks)) {
            const double of_thread = (double)quotient_up(b * ranges, threads);
            const double cycles = of_thread * unit_cycles(k, &l, (double)quotient_up(l.panels, b),
                                                          (double)quotient_up(l.channels, ranges));
            if (best && cycles >= best) continue;
            best = cycles;
            l.blocks = b;
            l.ranges = ranges;
        }
    }
    l.tasks = min(threads, l.blocks * l.ranges);
    return l;
}

/* Where a panel goes: straight to y from `at` on, or in pieces. */
typedef struct {
    ptrdiff_t at;
    int is_whole;
} target;

typedef struct {
    char *panels, *gathered, *stage;
    fc_panel_run *runs, *next_runs;
    fc_panel_fetch fetch;
    ptrdiff_t fetched; /* lines that a register tile fetches */
    target *targets;
} scratch;

/* Sets the pieces of a task's scratch; returns their bytes. */
static size_t carve(const fc_kernels *k, ptrdiff_t size, const layout *l, char *base, scratch *s) {
    const ptrdiff_t width = fc_panel_width(k), panels = quotient_up(l->panels, l->blocks);
    size_t used = 0;
    s->panels = fc_carve(base, &used, panels * width * l->chunk * size);
    s->gathered = fc_carve(base, &used, (panels + 1) * width * size);
    s->stage = fc_carve(base, &used, k->panel_rows * width * size);
    s->runs = fc_carve(base, &used, panels * width * (ptrdiff_t)sizeof *s->runs);
    s->next_runs = fc_carve(base, &used, panels * width * (ptrdiff_t)sizeof *s->runs);
    s->targets = fc_carve(base, &used, panels * (ptrdiff_t)sizeof *s->targets);
    return used;
}

/* ---- A call ---- */

typedef struct {
    fc_conv_job *j;
    const fc_correlation *c;
    layout layout;
    fc_panel_source source;
    int fetches;   /* x does not stay in the cache by itself */
    char *weights; /* of each register tile [term][channel], or NULL: they are read where they lie */
    ptrdiff_t adjacent; /* outputs that follow each other in y: those of an image or of a line */
    char *scratch;
    size_t task_bytes;
} call;

/* Offset of an output in y. */
static ptrdiff_t place(const fc_correlation *c, ptrdiff_t output) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t line = output / w->outputs;
    return line / h->outputs * c->y_image + line % h->outputs * h->target_stride +
           output % w->outputs * w->target_stride;
}

static void find_targets(const call *p, fc_units outputs, target *targets) {
    const ptrdiff_t width = fc_panel_width(p->j->kernels), lanes = p->j->kernels->lanes;
    for (ptrdiff_t u = outputs.begin; u < outputs.end; u += width, targets++) {
        const ptrdiff_t count = min(width, outputs.end - u);
        targets->at = place(p->c, u);
        targets->is_whole =
            p->c->axis[1].target_stride == 1 && u % p->adjacent + count <= p->adjacent && count % lanes == 0;
    }
}

/* Outputs [first, first + count) of some channels, from the stage to y. */
static void store_pieces(const call *p, const char *stage, ptrdiff_t stage_row, ptrdiff_t first, ptrdiff_t count,
                         fc_units channels, int accumulate, int relu) {
    const fc_correlation *c = p->c;
    const ptrdiff_t size = p->j->size;
    void *y_rows[FC_MAX_TILE_ROWS];
    for (ptrdiff_t done = 0, n; done < count; done += n) {
        n = min(count - done, p->adjacent - (first + done) % p->adjacent);
        char *y = c->y + (place(c, first + done) + channels.begin * c->y_channel) * size;
        for (ptrdiff_t i = 0; i < channels.end - channels.begin; i++) y_rows[i] = y + i * c->y_channel * size;
        p->j->kernels->store(channels.end - channels.begin, n, stage + done * size, stage_row, y_rows,
                             c->axis[1].target_stride, accumulate, relu);
    }
}

/* One register tile of channels, over all panels of the block. */
static void multiply_channels(const call *p, scratch *s, fc_units outputs, fc_units terms, fc_units channels) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->j->kernels;
    const ptrdiff_t size = p->j->size, width = fc_panel_width(k), rows = channels.end - channels.begin;
    const ptrdiff_t depth = terms.end - terms.begin;
    const int is_last = terms.end == p->layout.depth;
    const void *a_rows[FC_MAX_TILE_ROWS];
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t at = c->w_plane[0] + fc_tap_weight(c, 0, 0) + terms.begin * p->layout.step +
                             (channels.begin + i) * c->w_out_channel;
        a_rows[i] = p->weights ? p->weights + (channels.begin * p->layout.depth + terms.begin * rows + i) * size
                               : c->w + at * size;
    }
    fc_panel_tile tile = {
        .depth = depth,
        .a_rows = a_rows,
        .a_step = p->weights ? rows : p->layout.step,
        .b = s->panels,
        .bias = c->bias && terms.begin == 0 ? c->bias + channels.begin * size : NULL,
    };
    const target *to = s->targets;
    for (ptrdiff_t u = outputs.begin; u < outputs.end; u += width, to++) {
        const ptrdiff_t count = min(width, outputs.end - u), vectors = quotient_up(count, k->lanes);
        tile.c = to->is_whole ? c->y + (to->at + channels.begin * c->y_channel) * size : s->stage;
        tile.c_row = to->is_whole ? c->y_channel : width;
        tile.accumulate = to->is_whole && terms.begin > 0;
        tile.relu = to->is_whole && is_last && c->relu;
        if (s->fetched) fc_fetch_lines(&s->fetch, s->fetched);
        k->panel[rows - 1][vectors - 1](&tile);
        if (!to->is_whole)
            store_pieces(p, s->stage, width, u, count, channels, terms.begin > 0, is_last && c->relu);
        tile.b = (const char *)tile.b + vectors * k->lanes * depth * size;
    }
}

/* The register tiles of a range of channels, and the channels of one of them. */
static ptrdiff_t tiles_of(const call *p, fc_units range) {
    return quotient_up(range.end - range.begin, p->j->kernels->panel_rows);
}

static fc_units channels_of(fc_units range, ptrdiff_t tiles, ptrdiff_t tile) {
    const fc_units channels = fc_units_of(range.end - range.begin, tiles, tile);
    return (fc_units){range.begin + channels.begin, range.begin + channels.end};
}

static fc_units range_of(const call *p, ptrdiff_t range) {
    return fc_units_of(p->layout.channels, p->layout.ranges, range);
}

/* Packs the weights of some terms of all register tiles: lines of a few channels, of which several share a cache
 * line. */
static void pack_weights_task(void *context, int task) {
    const call *p = context;
    const ptrdiff_t depth = p->layout.depth, size = p->j->size;
    const fc_units mine = fc_units_of(depth, p->j->run.threads, task);
    for (fc_units terms = {mine.begin, 0}; terms.begin < mine.end; terms.begin = terms.end) {
        terms.end = min(mine.end, terms.begin + FC_PACKED_WEIGHT_TERMS);
        for (ptrdiff_t r = 0; r < p->layout.ranges; r++) {
            const fc_units range = range_of(p, r);
            const ptrdiff_t tiles = tiles_of(p, range);
            for (ptrdiff_t i = 0; i < tiles; i++) {
                const fc_units channels = channels_of(range, tiles, i);
                const ptrdiff_t at = channels.begin * depth + terms.begin * (channels.end - channels.begin);
                fc_pack_tile_weights(&p->source, channels, terms, p->weights + at * size);
            }
        }
    }
}

/* The outputs of a block. */
static fc_units outputs_of_block(const call *p, ptrdiff_t block) {
    const ptrdiff_t width = fc_panel_width(p->j->kernels);
    const fc_units panels = fc_units_of(p->layout.panels, p->layout.blocks, block);
    return (fc_units){panels.begin * width, min(p->layout.outputs, panels.end * width)};
}

/* Begins to fetch what the task's next block reads. */
static void fetch_next(const call *p, scratch *s, ptrdiff_t unit, ptrdiff_t end, ptrdiff_t tiles) {
    const layout *l = &p->layout;
    const ptrdiff_t block = unit / l->ranges + 1;
    s->fetched = 0;
    if (!p->fetches || l->chunk < l->depth || block * l->ranges >= end) return;
    s->fetch = fc_start_fetch(&p->source, outputs_of_block(p, block), s->next_runs);
    s->fetched = quotient_up(l->depth * fc_panel_width(p->j->kernels) * p->j->size, tiles * FC_CACHE_LINE);
}

static void multiply_task(void *context, int task) {
    const call *p = context;
    const layout *l = &p->layout;
    const fc_kernels *k = p->j->kernels;
    const fc_units mine = fc_units_of(l->blocks * l->ranges, l->tasks, task);
    ptrdiff_t packed = -1; /* the block whose first terms the panels hold */
    scratch s;
    carve(k, p->j->size, l, p->scratch + (size_t)task * p->task_bytes, &s);
    for (ptrdiff_t unit = mine.begin; unit < mine.end; unit++) {
        const ptrdiff_t block = unit / l->ranges;
        const fc_units outputs = outputs_of_block(p, block);
        const fc_units range = range_of(p, unit % l->ranges);
        const ptrdiff_t tiles = tiles_of(p, range);
        find_targets(p, outputs, s.targets);
        for (ptrdiff_t first = 0; first < l->depth; first += l->chunk) {
            const fc_units terms = {first, min(l->depth, first + l->chunk)};
            if (fc_stopped(&p->j->run)) return;
            if (packed != block || l->chunk < l->depth)
                fc_pack_panels(&p->source, outputs, terms, s.runs, s.gathered, s.panels);
            packed = block;
            fetch_next(p, &s, unit, mine.end, tiles);
            for (ptrdiff_t i = 0; i < tiles; i++) {
                if (fc_stopped_at(&p->j->run, i, (outputs.end - outputs.begin) * (terms.end - terms.begin))) return;
                multiply_channels(p, &s, outputs, terms, channels_of(range, tiles, i));
            }
        }
    }
}

/* Output channels that are summed at once: all of them, but for weights that are packed, a bound of the workspace. */
static ptrdiff_t channels_at_once(const fc_kernels *k, ptrdiff_t size, const fc_correlation *c) {
    if (step_of_terms(k, c)) return c->out_channels;
    return even_block(c->out_channels, FC_PACKED_WEIGHT_BYTES / (terms_of(c) * size));
}

/* The layouts of a plan's correlations, each of several alike once. */
typedef struct {
    ptrdiff_t count;
    layout layout[];
} layouts;

static int is_layout_of(const layout *l, const fc_kernels *k, const fc_correlation *c) {
    return l->outputs == outputs_of(c) && l->depth == terms_of(c) && l->channels == c->out_channels &&
           l->step == step_of_terms(k, c);
}

static const layout *find_layout(const layouts *all, const fc_kernels *k, const fc_correlation *c) {
    const layout *l = all->layout;
    while (!is_layout_of(l, k, c)) {
        l++;
        FC_ASSERT(l < all->layout + all->count);
    }
    return l;
}

static void correlate_part(fc_conv_job *j, const layouts *layouts, const fc_correlation *part) {
    const fc_correlation c = *part;
    const fc_axis *h = &c.axis[0], *w = &c.axis[1];
    const int is_dense = w->target_stride == 1 && (h->outputs == 1 || h->target_stride == w->outputs);
    call p = {
        .j = j,
        .c = &c,
        .layout = *find_layout(layouts, j->kernels, &c),
        .source = fc_panel_source_of(&c, j->kernels, j->size),
        .adjacent = is_dense ? h->outputs * w->outputs : w->outputs,
    };
    p.fetches = c.axis[0].taps * c.axis[1].taps == 1 && c.axis[1].stride * c.axis[1].source_stride == 1 &&
                c.images * c.planes * h->size * w->size * j->size > FC_PACKED_FETCH_BYTES &&
                quotient_up(c.out_channels, j->kernels->panel_rows) <= FC_PACKED_FETCH_TILES;
    scratch unbound;
    const size_t weights = p.layout.step ? 0 : fc_aligned(p.layout.depth * p.layout.channels * j->size);
    p.task_bytes = carve(j->kernels, j->size, &p.layout, NULL, &unbound);
    char *all = fc_scratch_acquire(weights + (size_t)p.layout.tasks * p.task_bytes);
    if (!all) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    p.scratch = all + weights;
    if (weights) {
        p.weights = all;
        fc_parallel(&j->run, j->run.threads, pack_weights_task, &p);
    }
    fc_parallel(&j->run, (int)p.layout.tasks, multiply_task, &p);
    fc_scratch_release(all);
}

static void correlate(fc_conv_job *j, const layouts *layouts, const fc_correlation *correlation) {
    const fc_correlation c = fc_merge_axes(correlation);
    const ptrdiff_t at_once = channels_at_once(j->kernels, j->size, &c);
    for (ptrdiff_t first = 0; first < c.out_channels && j->run.status == FC_OK; first += at_once) {
        const fc_correlation part = fc_channels_of(&c, j->size, first, min(at_once, c.out_channels - first));
        correlate_part(j, layouts, &part);
    }
}

static void correlate_each(fc_conv_job *j, void *layouts, const fc_correlation *residue, int lines, int residues) {
    for (int i = 0; i < lines * residues && j->run.status == FC_OK; i++) correlate(j, layouts, &residue[i]);
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    const fc_conv_problem *p = &plan->problem.conv;
    fc_conv_job j = fc_conv_start(p, a, interrupted);
    if (!j.plane) return FC_NO_MEMORY;
    if (plan->op == FC_BACKWARD_DATA) fc_conv_backward_data(&j, p->groups, correlate_each, plan->state);
    for (ptrdiff_t g = 0; plan->op == FC_FORWARD && g < p->groups; g++)
        for (ptrdiff_t o = 0; o < p->out_size[0] && j.run.status == FC_OK; o++) {
            const fc_correlation c = fc_conv_forward_correlation(&j, g, o);
            correlate(&j, plan->state, &c);
        }
    return fc_conv_end(&j);
}

/* ---- Plans ---- */

/* The correlations of one group: cycles, and the layouts, each of several alike once, if there is room for them. */
typedef struct {
    layout *layout;
    ptrdiff_t count; /* without room of all, alike or not */
    double cycles;
} survey;

static void survey_part(fc_conv_job *j, survey *s, const fc_correlation *part) {
    const layout l = lay_out(j->kernels, j->size, part, j->run.threads);
    s->cycles += unit_cycles(j->kernels, &l, (double)l.panels, (double)l.channels);
    for (ptrdiff_t i = 0; s->layout && i < s->count; i++)
        if (is_layout_of(&s->layout[i], j->kernels, part)) return;
    if (s->layout) s->layout[s->count] = l;
    s->count++;
}

static void survey_each(fc_conv_job *j, void *context, const fc_correlation *residue, int lines, int residues) {
    for (int i = 0; i < lines * residues; i++) {
        const fc_correlation c = fc_merge_axes(&residue[i]);
        const ptrdiff_t at_once = channels_at_once(j->kernels, j->size, &c);
        for (ptrdiff_t first = 0; first < c.out_channels; first += at_once) {
            const fc_correlation part = fc_channels_of(&c, j->size, first, min(at_once, c.out_channels - first));
            survey_part(j, context, &part);
        }
    }
}

static fc_status look_over(fc_op op, const fc_conv_problem *p, survey *s) {
    fc_conv_job j = fc_conv_start(p, NULL, NULL);
    if (!j.plane) return FC_NO_MEMORY;
    if (op == FC_BACKWARD_DATA) fc_conv_backward_data(&j, 1, survey_each, s);
    for (ptrdiff_t o = 0; op == FC_FORWARD && o < p->out_size[0]; o++) {
        const fc_correlation c = fc_conv_forward_correlation(&j, 0, o);
        survey_each(&j, s, &c, 1, 1);
    }
    return fc_conv_end(&j);
}

static fc_status create(fc_plan *plan) {
    survey all = {.layout = NULL}, unlike = {.layout = NULL};
    fc_status status = look_over(plan->op, &plan->problem.conv, &all);
    if (status != FC_OK) return status;
    unlike.layout = fc_scratch_acquire((size_t)max(1, all.count) * sizeof *unlike.layout);
    if (!unlike.layout) return FC_NO_MEMORY;
    status = look_over(plan->op, &plan->problem.conv, &unlike);
    layouts *kept = plan->state = fc_plan_allocate(plan, sizeof *kept + (size_t)unlike.count * sizeof *kept->layout);
    if (kept) {
        kept->count = unlike.count;
        memcpy(kept->layout, unlike.layout, (size_t)unlike.count * sizeof *kept->layout);
    } else {
        status = FC_NO_MEMORY;
    }
    fc_scratch_release(unlike.layout);
    return status;
}

/* ---- What it says ---- */

static double cycles(const fc_path *path, fc_op op, const fc_problem *problem) {
    survey s = {.layout = NULL};
    (void)path;
    if (!problem->conv.batch || look_over(op, &problem->conv, &s) != FC_OK) return 0;
    return s.cycles * (double)problem->conv.groups;
}

static size_t workspace_of(const fc_kernels *k, ptrdiff_t size, const layout *l) {
    scratch unbound;
    const size_t task = carve(k, size, l, NULL, &unbound);
    return (size_t)l->tasks * task + (l->step ? 0 : fc_aligned(l->depth * l->channels * size));
}

/* Tile and blocks are those of the layout that takes longest. */
static void describe(const fc_plan *plan, fc_description *d) {
    const fc_conv_problem *p = &plan->problem.conv;
    const fc_kernels *k = fc_find_kernels(p->call.isa, p->call.dtype);
    const layouts *all = plan->state;
    const layout *l = NULL;
    double longest = 0;
    for (ptrdiff_t i = 0; i < all->count; i++) {
        const layout *own = &all->layout[i];
        const double cycles = unit_cycles(k, own, (double)own->panels, (double)own->channels);
        const size_t bytes = workspace_of(k, p->call.dtype == FC_FLOAT32 ? 4 : 8, own);
        if (bytes > d->workspace) d->workspace = bytes;
        if (cycles <= longest) continue;
        longest = cycles;
        l = own;
    }
    if (!l) {
        snprintf(d->how, sizeof d->how, "no tap meets dy");
        return;
    }
    const ptrdiff_t width = fc_panel_width(k), panels = quotient_up(l->panels, l->blocks);
    d->tasks = l->tasks;
    d->tile[0] = even_block(quotient_up(l->channels, l->ranges), k->panel_rows);
    d->tile[1] = width;
    d->block[2] = min(l->outputs, panels * width);
    snprintf(d->how, sizeof d->how,
             "pixels in the vector, packed: register tiles of %td output channels x %td outputs, blocks of %td outputs "
             "by %td of %td terms, in %td range%s of output channels, weights %s",
             d->tile[0], width, d->block[2], l->chunk, l->depth, l->ranges, l->ranges > 1 ? "s" : "",
             l->step ? "read where they lie" : "packed for each tile");
    d->block[0] = d->block[1] = 1;
}

/* ---- The path ---- */

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    (void)path;
    const ptrdiff_t planes = (op == FC_BACKWARD_DATA ? p->out_channels : p->in_channels) / p->groups;
    const ptrdiff_t terms = planes * p->kernel[0] * p->kernel[1] * p->kernel[2];
    const ptrdiff_t bytes = terms * (p->call.dtype == FC_FLOAT32 ? 4 : 8);
    return bytes > FC_PACKED_WEIGHT_BYTES ? "the weights of one output channel take more memory than they may" : NULL;
}

/* Whether planes, read in place, would all begin in the same few sets of L1. */
static int planes_collide(ptrdiff_t plane, ptrdiff_t size) { return plane * size % FC_PACKED_COLLIDE_BYTES == 0; }

static const char *doubt(fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    const int back = op == FC_BACKWARD_DATA;
    const fc_kernels *k = fc_find_kernels(p->call.isa, p->call.dtype);
    const ptrdiff_t *strides = back ? p->y_strides : p->x_strides;
    const ptrdiff_t channels = (back ? p->in_channels : p->out_channels) / p->groups;
    const int one_tap = p->kernel[1] * p->kernel[2] == 1;
    const int is_patch = p->kernel[1] == p->stride[1] && p->kernel[2] == p->stride[2] && !p->pad[1] && !p->pad[2] &&
                         p->dilation[1] == 1 && p->dilation[2] == 1;
    if (!one_tap && back) return "dy would be packed again for each tap or each residue of the stride";
    if (!one_tap && !is_patch) return "taps overlap or leave gaps: packing would copy inputs once for each of them";
    if ((p->in_size[2] > 1 && p->x_strides[4] != 1) || (p->out_size[2] > 1 && p->y_strides[4] != 1))
        return "pixels of a line do not lie side by side";
    const ptrdiff_t outputs = back ? quotient_up(p->in_size[1], p->stride[1]) * quotient_up(p->in_size[2], p->stride[2])
                                   : p->out_size[1] * p->out_size[2];
    if (p->batch * outputs < FC_PACKED_MIN_OUTPUTS) return "outputs are too few to fill panels";
    if (outputs < FC_PACKED_MIN_OUTPUTS_OF_IMAGE) return "images are so small that they are copied in crumbs";
    const ptrdiff_t size_of = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    const ptrdiff_t enough = !k->few_registers                     ? FC_PACKED_MIN_CHANNELS_MANY_ROWS
                             : planes_collide(strides[1], size_of) ? FC_PACKED_MIN_CHANNELS_COLLIDING
                                                                   : FC_PACKED_MIN_CHANNELS;
    if (channels < enough) return "output channels are too few to repay packing";
    return NULL;
}

static const fc_algorithm algorithm = {doubt};

const fc_path fc_path_packed_pixels = {
    .name = "packed_gemm/pixels",
    .algorithm = &algorithm,
    .exact = 1,
    .refuses = refuses,
    .cycles = cycles,
    .create = create,
    .run = run,
    .describe = describe,
};
