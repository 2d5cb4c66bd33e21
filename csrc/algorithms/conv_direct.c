/* Depthwise convolutions, and groups of few channels: every tap in place over a padded copy of a band in L1
 * (kernels/direct_kernel.tmpl.h), all groups and images shared out among the threads. Pixels of a row are
 * the vector, or, with channels last and one channel a group, the channels are. */
#include "conv_direct.h"

#include <stdio.h>
#include <string.h>

#include "../arithmetic.h"
#include "../memory.h"

/* Copies of planes should stay in L1, or nearly; those of all channels, in L2. */
static const ptrdiff_t BAND = 64 << 10, CHANNELS_BAND = 384 << 10;
/* Copies that are filled a unit ahead. */
static const ptrdiff_t SMALL_COPY = 16 << 10;
static const ptrdiff_t MOST_BYTES = 8 << 20;
/* Positions of planes that are transposed whole. */
enum { MOST_PLANAR = 1024 };
/* Channels that are transposed together where they lie side by side. */
enum { SIDE_BY_SIDE = 16 };
/* Channels of a group, beyond which gathered GEMMs win. */
enum { MOST_CHANNELS = 8 };

/* All positions in one phase, so that every tap of every output is the same step apart. */
static fc_phases all_of(const fc_axis *axis) {
    fc_phases p = fc_split_axis(axis, axis->outputs);
    p.one_per_tap = 0;
    p.phases = p.period = 1;
    p.advance = p.stride;
    p.stride = 1;
    p.reach = p.last_tap * p.step;
    return p;
}

static void cut(fc_direct_plan *p, ptrdiff_t rows, ptrdiff_t cols) {
    fc_blocks *b = &p->blocks;
    b->size[0] = 1;
    b->size[1] = rows;
    b->size[2] = cols;
    fc_lay_out(b);
    const ptrdiff_t beyond = FC_DIRECT_BLOCK * b->pitch[1 + p->blocked] + 4 * p->kernels->lanes;
    p->copy = ((p->by_channel ? 1 : p->together) * fc_direct_group_copy(p) + beyond) * p->size;
    p->gather = (ptrdiff_t)fc_aligned(p->copy);
    if (p->planar) p->copy = p->gather + b->axis[0].size * b->axis[1].size * b->inner * p->size;
}

/* Shrinks the band until its copies fit: first the groups, then the columns; then adds rows. */
static void choose(fc_direct_plan *p) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    if (p->planar) {
        cut(p, h->outputs, w->outputs);
        return;
    }
    const ptrdiff_t lanes = p->kernels->lanes, most_bytes = p->by_channel ? CHANNELS_BAND : BAND;
    const ptrdiff_t least_rows = least(h->outputs, FC_DIRECT_BLOCK);
    ptrdiff_t rows = least_rows, cols = w->outputs;
    for (cut(p, rows, cols); p->by_channel && p->copy > most_bytes && p->together > lanes; cut(p, rows, cols))
        p->blocks.inner = p->together = quotient_up(p->together / lanes, 2) * lanes;
    for (; p->copy > most_bytes && cols > 8 * lanes; cut(p, rows, cols)) cols = quotient_up(cols, 2);
    while (rows < h->outputs) {
        cut(p, least(h->outputs, rows + FC_DIRECT_BLOCK), cols);
        if (p->copy > most_bytes) break;
        rows += FC_DIRECT_BLOCK;
    }
    const ptrdiff_t blocks = quotient_up(even_block(h->outputs, rows), FC_DIRECT_BLOCK);
    cut(p, least(h->outputs, blocks * FC_DIRECT_BLOCK), cols);
}

/* The parts of a plane that are copied, where one band is all of it. */
static void fix_padding(fc_direct_plan *p) {
    const fc_blocks *b = &p->blocks;
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    p->parts = 0;
    if (p->spread || b->count[1] * b->count[2] > 1 || b->phases[1].phases > FC_MOST_PHASES) return;
    for (ptrdiff_t i = 0; i < p->c->planes; i++)
        if (!p->c->x_plane[i]) return;
    const ptrdiff_t w_stride = p->planar ? b->inner : w->source_stride;
    const ptrdiff_t h_stride = p->planar ? w->size * b->inner : h->source_stride;
    const ptrdiff_t top = b->phases[0].first, step = b->phases[1].stride;
    const ptrdiff_t rows = fc_phase_length(&b->phases[0], h->outputs);
    const ptrdiff_t columns = fc_phase_length(&b->phases[1], w->outputs);
    const ptrdiff_t above = most(0, -top), height = least(rows, h->size - top) - above;
    for (ptrdiff_t f = 0; f < b->phases[1].phases; f++) {
        const ptrdiff_t left = fc_phase_origin(&b->phases[1], f);
        const ptrdiff_t before = left < 0 ? quotient_up(-left, step) : 0;
        const ptrdiff_t inside = left < w->size ? least(columns, quotient_up(w->size - left, step)) : 0;
        if (height <= 0 || inside <= before) continue;
        p->part[p->parts].rows = (fc_padded_rows){
            .rows = height,
            .count = inside - before,
            .source_pitch = height > 1 ? h_stride : 0,
            .step = inside - before > 1 ? step * w_stride : b->inner,
            .target_pitch = b->row_stride,
            .inner = b->inner,
            .adjacent = b->inner,
        };
        p->part[p->parts].source = (top + above) * h_stride + (left + before * step) * w_stride;
        p->part[p->parts++].target = f * b->phase_stride + above * b->row_stride + before * b->inner;
    }
    if (!p->parts) p->part[p->parts++].rows = (fc_padded_rows){.rows = 0};
}

/* Whether rows of outputs are so short that vectors of channels win although channels are planes: these
 * are contiguous, and transposed as a whole (7x7: half the time; 14x14: 1.1 times as long). */
static int is_planar(const fc_correlation *c, const fc_groups *groups, ptrdiff_t lanes) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t positions = h->size * w->size;
    if (c->rows > 1 || groups->count < lanes / 2 || w->outputs > lanes / 2 || positions > MOST_PLANAR) return 0;
    for (ptrdiff_t i = 0; i < c->planes; i++)
        if (!c->x_plane[i]) return 0;
    return (w->size == 1 || w->source_stride == 1) && (h->size == 1 || h->source_stride == w->size) &&
           (w->outputs == 1 || w->target_stride == 1) && (h->outputs == 1 || h->target_stride == w->outputs);
}

fc_direct_plan fc_plan_direct(const fc_kernels *kernels, ptrdiff_t size, const fc_correlation *c,
                              const fc_groups *groups, int phases, const fc_direct_plan *like) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    fc_direct_plan p = {.kernels = kernels, .size = size, .c = c, .groups = *groups, .together = 1};
    const int side_by_side = groups->x == c->planes && (c->planes == 1 || fc_are_adjacent(c, size));
    p.by_channel = c->rows == 1 && groups->count > 1 && groups->x == 1 && groups->y == 1;
    p.planar = !p.by_channel && phases == 1 && is_planar(c, groups, kernels->lanes);
    p.by_channel |= p.planar;
    p.spread = side_by_side && !p.by_channel;
    p.blocked = p.by_channel;
    p.blocks = (fc_blocks){.axis = c->axis, .images = c->images, .x_image = c->x_image, .inner = 1};
    p.blocks.adjacent = side_by_side || p.by_channel;
    p.blocks.phases[0] = all_of(h);
    p.blocks.phases[1] = p.by_channel ? all_of(w) : fc_split_axis(w, w->outputs);
    if (p.planar)
        p.together = p.blocks.inner = kernels->lanes;
    else if (p.by_channel)
        p.together = p.blocks.inner = quotient_up(groups->count, kernels->lanes) * kernels->lanes;
    else if (p.spread)
        p.together = least(groups->count, most(1, SIDE_BY_SIDE / most(c->planes, c->rows)));
    if (like) {
        p.together = like->together;
        p.blocks.inner = like->blocks.inner;
        cut(&p, like->blocks.size[1], like->blocks.size[2]);
    } else {
        choose(&p);
    }
    const fc_phases *blocked = &p.blocks.phases[p.blocked];
    p.bundles = quotient_up(groups->count, p.together);
    p.others = c->planes * (p.by_channel ? h : w)->taps;
    p.lowest = blocked->reversed ? blocked->last_tap : 0;
    p.tap_step = blocked->step * (p.blocked ? p.blocks.inner : p.blocks.row_stride);
    fix_padding(&p);
    return p;
}

void fc_direct_tables(const fc_direct_plan *p, ptrdiff_t *other_x, ptrdiff_t *other_w) {
    const fc_axis *axis = p->c->axis, *other = &axis[!p->blocked], *blocked = &axis[p->blocked];
    for (ptrdiff_t plane = 0; plane < p->c->planes; plane++)
        for (ptrdiff_t t = 0; t < other->taps; t++) {
            *other_x++ = plane * p->blocks.plane_stride + fc_tap_offset(&p->blocks, p->blocked ? t : p->lowest,
                                                                       p->blocked ? p->lowest : t);
            *other_w++ = p->c->w_plane[plane] + other->weight + t * other->weight_step + blocked->weight +
                         p->lowest * blocked->weight_step;
        }
}

ptrdiff_t fc_direct_units(const fc_direct_plan *p) {
    return p->c->images * p->bundles * p->blocks.count[1] * p->blocks.count[2];
}

/* With channels side by side all groups of a band, before its lines leave the cache. */
static int bundles_first(const fc_direct_plan *p) { return p->by_channel || p->spread; }

static void stand(const fc_direct_plan *p, fc_direct_place *place) {
    const fc_blocks *b = &p->blocks;
    fc_block *block = &place->block;
    place->group = place->bundle * p->together;
    place->groups = least(p->together, p->groups.count - place->group);
    block->start[1] = place->bands == 1 ? 0 : place->band / b->count[2] * b->size[1];
    block->start[2] = place->bands == 1 ? 0 : place->band % b->count[2] * b->size[2];
    for (int i = 1; i < 3; i++) block->count[i] = least(b->size[i], b->axis[i - 1].outputs - block->start[i]);
}

fc_direct_place fc_direct_find(const fc_direct_plan *p, ptrdiff_t unit) {
    fc_direct_place place = {.bands = p->blocks.count[1] * p->blocks.count[2]};
    const ptrdiff_t of_image = unit % (p->bundles * place.bands);
    place.bundle = bundles_first(p) ? of_image % p->bundles : of_image / place.bands;
    place.band = bundles_first(p) ? of_image / p->bundles : of_image % place.bands;
    place.block.start[0] = unit / (p->bundles * place.bands);
    place.block.count[0] = 1;
    stand(p, &place);
    return place;
}

void fc_direct_next(const fc_direct_plan *p, fc_direct_place *place) {
    const int bundle_is_inner = bundles_first(p);
    ptrdiff_t *inner = bundle_is_inner ? &place->bundle : &place->band;
    ptrdiff_t *outer = bundle_is_inner ? &place->band : &place->bundle;
    if (++*inner == (bundle_is_inner ? p->bundles : place->bands)) {
        *inner = 0;
        if (++*outer == (bundle_is_inner ? place->bands : p->bundles)) {
            *outer = 0;
            place->block.start[0]++;
        }
    }
    stand(p, place);
}

void fc_direct_fill(const fc_direct_plan *p, const fc_direct_place *place, char *copy) {
    const fc_correlation *c = p->c;
    const ptrdiff_t stride = p->blocks.plane_stride * p->size, image = place->block.start[0] * c->x_image;
    if (p->spread) { /* all planes of all groups at once */
        const char *first = c->x_plane[0];
        const void *source = first ? first + place->group * p->groups.x * p->size : NULL;
        fc_fill_block(p->kernels, p->size, &p->blocks, &place->block, &source, 0, place->groups * c->planes, copy);
        return;
    }
    for (ptrdiff_t g = 0; g < (p->by_channel ? 1 : place->groups); g++)
        for (ptrdiff_t plane = 0; plane < c->planes; plane++, copy += stride) {
            const char *first = c->x_plane[plane];
            if (first) first += (place->group + g) * p->groups.x * p->size;
            if (p->planar) {
                char *gathered = copy + p->gather - plane * stride;
                const ptrdiff_t positions = p->blocks.axis[0].size * p->blocks.axis[1].size;
                p->kernels->transpose(place->groups, positions, first + image * p->size, p->groups.x, gathered,
                                      p->blocks.inner);
                p->kernels->pad(&p->part[0].rows, gathered + p->part[0].source * p->size,
                                copy + p->part[0].target * p->size);
                continue;
            }
            if (!p->parts) {
                const void *source = first;
                fc_fill_block(p->kernels, p->size, &p->blocks, &place->block, &source, 0,
                              p->by_channel ? place->groups : 1, copy);
            }
            for (int i = 0; i < p->parts; i++) {
                const char *source = first + (image + p->part[i].source) * p->size;
                if (!p->by_channel || place->groups == p->together) {
                    p->kernels->pad(&p->part[i].rows, source, copy + p->part[i].target * p->size);
                } else {
                    fc_padded_rows rows = p->part[i].rows;
                    rows.adjacent = place->groups;
                    p->kernels->pad(&rows, source, copy + p->part[i].target * p->size);
                }
            }
        }
}

/* A correlation of all groups, or several whose targets differ by their phases of the stride. */
typedef struct {
    fc_run *run;
    fc_direct_plan plan[FC_MOST_PHASES]; /* [line][phase] */
    int lines, phases;
    int interleaved;     /* the phases are all of the stride, in order: rows leave whole */
    int in_place;        /* sums go straight to y */
    const fc_direct_plan *widest; /* whose last axis has the most outputs */
    ptrdiff_t copy, others;
    ptrdiff_t copies;    /* 2: small ones are filled a unit ahead, since loads wait for fresh stores */
    const char *weights; /* by channel: [vector][phase][other][tap][lane] */
    const char *bias;
    ptrdiff_t packed[FC_MOST_PHASES + 1]; /* elements before each phase's weights; of a vector's */
    ptrdiff_t units, parts;
    /* Bytes of a thread's copies, of its tables, of rows on their way to y: [channel][row][phase][column]. */
    size_t copy_room, table_room, stage_room;
    ptrdiff_t stage_pitch[2], phase_pitch; /* elements between channels and rows; between phases */
} forward_job;

/* Weights and bias with the groups of a vector side by side; lanes beyond the last are zeros. */
static char *pack(forward_job *f, const fc_correlation *phase) {
    const fc_direct_plan *p = &f->plan[0];
    const ptrdiff_t lanes = p->kernels->lanes, size = p->size, vectors = quotient_up(p->groups.count, lanes);
    const ptrdiff_t elements = f->packed[f->lines * f->phases];
    const size_t weights = fc_aligned(vectors * elements * size), bias = fc_aligned(vectors * lanes * size);
    char *base = fc_scratch_acquire(weights + bias + fc_aligned(2 * f->others * (ptrdiff_t)sizeof(ptrdiff_t)));
    if (!base) return NULL;
    if (p->groups.count % lanes) memset(base, 0, weights + bias);
    ptrdiff_t *other_x = (ptrdiff_t *)(base + weights + bias), *other_w = other_x + f->others;
    for (int i = 0; i < f->lines * f->phases; i++) {
        const fc_direct_plan *q = &f->plan[i];
        const fc_axis *w = &phase[i].axis[1];
        const ptrdiff_t step = q->blocks.phases[1].reversed ? -w->weight_step : w->weight_step;
        fc_direct_tables(q, other_x, other_w);
        for (ptrdiff_t v = 0; v < vectors; v++) {
            char *target = base + (v * elements + f->packed[i]) * size;
            const char *source = (const char *)phase[i].w + v * lanes * p->groups.w * size;
            const ptrdiff_t groups = least(lanes, p->groups.count - v * lanes);
            for (ptrdiff_t k = 0; k < q->others; k++)
                for (ptrdiff_t t = 0; t < w->taps; t++, target += lanes * size)
                    p->kernels->copy(groups, source + (other_w[k] + t * step) * size, p->groups.w, target);
        }
    }
    if (phase->bias) memcpy(base + weights, phase->bias, (size_t)(p->groups.count * size));
    f->weights = base;
    f->bias = phase->bias ? base + weights : NULL;
    return base;
}

/* Outputs of one phase in a band, to y or to rows of a stage. */
static void sums(const forward_job *f, int phase, const fc_direct_place *place, const ptrdiff_t *tables,
                 const char *copy, char *stage) {
    const fc_block *block = &place->block;
    const fc_direct_plan *p = &f->plan[phase];
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1], *blocked = &c->axis[p->blocked];
    const ptrdiff_t size = p->size, lanes = p->kernels->lanes;
    fc_direct d = {
        .outputs = block->count[1 + p->blocked],
        .width = block->count[2],
        .taps = blocked->taps,
        .tap_step = p->tap_step,
        .w_tap = p->by_channel ? lanes : p->blocks.phases[0].reversed ? -h->weight_step : h->weight_step,
        .x_step = p->blocks.pitch[1 + p->blocked],
        .others = p->others,
        .other_x = tables,
        .other_w = tables + f->others,
        .relu = c->relu,
    };
    char *y = (char *)c->y + (block->start[0] * c->y_image + block->start[1] * h->target_stride +
                              block->start[2] * w->target_stride + place->group * p->groups.y) * size;
    if (p->by_channel) {
        const ptrdiff_t row_step = p->planar ? w->outputs * lanes : h->target_stride;
        char *target = p->planar ? stage : y;
        d.y_step = p->planar ? lanes : w->target_stride;
        const ptrdiff_t vector = place->group / lanes;
        const char *weights = f->weights + (vector * f->packed[f->lines * f->phases] + f->packed[phase]) * size;
        for (ptrdiff_t row = 0; row < block->count[1]; row++) {
            d.w = weights;
            for (ptrdiff_t g = 0; g < place->groups; g += lanes) {
                d.width = p->planar ? lanes : least(lanes, place->groups - g);
                d.bias = f->bias ? f->bias + (place->group + g) * size : NULL;
                p->kernels->direct_channels(&d, copy + (row * p->blocks.pitch[1] + g) * size,
                                            target + (row * row_step + g) * size);
                d.w = (const char *)d.w + f->packed[f->lines * f->phases] * size;
            }
        }
        if (p->planar)
            p->kernels->transpose(h->outputs * w->outputs, place->groups, stage, lanes, y, p->groups.y);
        return;
    }
    d.y_step = f->in_place ? h->target_stride : f->stage_pitch[1];
    for (ptrdiff_t g = 0; g < place->groups; g++, y += p->groups.y * size, copy += fc_direct_group_copy(p) * size)
        for (ptrdiff_t k = 0; k < c->rows; k++, stage += f->stage_pitch[0] * size) {
            d.w = (const char *)c->w + ((place->group + g) * p->groups.w + k * c->w_row) * size;
            d.bias = c->bias ? (const char *)c->bias + ((place->group + g) * c->rows + k) * size : NULL;
            p->kernels->direct_pixels(&d, copy, f->in_place ? y + k * c->y_row * size : stage);
        }
}

/* Staged rows of a line to y. */
static void leave(const forward_job *f, int line, const fc_direct_place *place, const ptrdiff_t counts[],
                  const char *stage) {
    const fc_block *block = &place->block;
    const ptrdiff_t *stage_pitch = f->stage_pitch, phase_pitch = f->phase_pitch;
    const fc_direct_plan *p = &f->plan[line * f->phases];
    const fc_correlation *c = p->c;
    const ptrdiff_t size = p->size, channels = place->groups * c->rows;
    const int side_by_side = channels > 1 && p->groups.y == c->rows && (c->rows == 1 || c->y_row == 1);
    for (int i = 0; i < (f->interleaved ? 1 : f->phases); i++) {
        const fc_correlation *own = p[i].c;
        const fc_axis *h = &own->axis[0], *w = &own->axis[1];
        char *y = (char *)own->y + (block->start[0] * c->y_image + block->start[1] * h->target_stride +
                                    block->start[2] * w->target_stride + place->group * p->groups.y) * size;
        const char *source = stage + i * phase_pitch * size;
        ptrdiff_t total = 0;
        for (int other = 0; other < f->phases; other++) total += counts[other];
        for (ptrdiff_t row = 0; row < block->count[1]; row++) {
            const char *from = source + row * stage_pitch[1] * size;
            char *to = y + row * h->target_stride * size;
            if (side_by_side && !f->interleaved) {
                p->kernels->transpose(channels, counts[i], from, stage_pitch[0], to, w->target_stride);
                continue;
            }
            for (ptrdiff_t k = 0; k < channels; k++, from += stage_pitch[0] * size) {
                void *target = to + (k / c->rows * p->groups.y + k % c->rows * c->y_row) * size;
                if (f->interleaved) p->kernels->pool.interleave(total, f->phases, from, phase_pitch, target);
                else p->kernels->store(1, counts[i], from, 0, &target, w->target_stride, 0, 0);
            }
        }
    }
}

/* The outputs that a phase has of the widest one's band; whether there are any. */
static int shorten(const fc_direct_plan *p, const fc_direct_place *place, fc_direct_place *own) {
    for (int i = 1; i < 3; i++)
        own->block.count[i] = least(place->block.count[i], p->c->axis[i - 1].outputs - place->block.start[i]);
    return own->block.count[1] > 0 && own->block.count[2] > 0;
}

static void fill(const forward_job *f, const fc_direct_place *place, char *copy) {
    fc_direct_place own = *place;
    for (int i = 0; i < f->lines * f->phases; i++, copy += f->copy)
        if (shorten(&f->plan[i], place, &own)) fc_direct_fill(&f->plan[i], &own, copy);
}

static void forward_part(void *context, int index) {
    forward_job *f = context;
    const fc_direct_plan *p = &f->plan[0];
    const fc_share share = fc_share_of(f->units, f->parts, index);
    const ptrdiff_t size = p->size, lanes = p->kernels->lanes, plans = f->lines * f->phases;
    char *copy = fc_scratch_acquire(f->copy_room + f->table_room + f->stage_room);
    if (!copy) {
        fc_stop(f->run, FC_NO_MEMORY);
        return;
    }
    memset(copy, 0, f->copy_room);
    ptrdiff_t *tables = (ptrdiff_t *)(copy + f->copy_room);
    char *stage = copy + f->copy_room + f->table_room;
    for (int i = 0; i < plans; i++) {
        ptrdiff_t *own = tables + 2 * i * f->others, *other_w = own + f->others;
        fc_direct_tables(&f->plan[i], own, other_w);
        for (ptrdiff_t k = 0; p->by_channel && k < f->plan[i].others; k++)
            other_w[k] = k * f->plan[i].c->axis[1].taps * lanes;
    }
    fc_direct_place place = fc_direct_find(f->widest, share.begin), next = place;
    if (f->copies > 1) fill(f, &place, copy);
    ptrdiff_t turn = 0;
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(f->run, u - share.begin, BAND / 8); u++) {
        char *own = copy + turn * plans * f->copy;
        fc_direct_place part = place;
        ptrdiff_t counts[FC_MOST_PHASES];
        fc_direct_next(f->widest, &next);
        if (f->copies == 1) fill(f, &place, own);
        else if (u + 1 < share.end) fill(f, &next, copy + (turn = 1 - turn) * plans * f->copy);
        for (int line = 0; line < f->lines; line++) {
            int any = 0;
            for (int i = 0; i < f->phases; i++, own += f->copy) {
                const int index = line * (int)f->phases + i;
                const int has = shorten(&f->plan[index], &place, &part);
                counts[i] = has ? part.block.count[2] : 0;
                any |= has;
                if (has)
                    sums(f, index, &part, tables + 2 * index * f->others, own,
                         stage + i * f->phase_pitch * size);
            }
            if (any && !f->in_place) leave(f, line, &part, counts, stage);
        }
        place = next;
    }
    fc_scratch_release(copy);
}

/* Whether the phases are all those of the stride; brings them into the order of their targets. */
static int order_phases(fc_correlation *phase, int phases, ptrdiff_t size) {
    for (int i = 1; i < phases; i++)
        for (int k = i; k > 0 && (char *)phase[k].y < (char *)phase[k - 1].y; k--) {
            const fc_correlation other = phase[k];
            phase[k] = phase[k - 1];
            phase[k - 1] = other;
        }
    for (int i = 0; i < phases; i++) {
        if ((char *)phase[i].y != (char *)phase[0].y + i * size) return 0;
        if (phase[i].axis[1].outputs > 1 && phase[i].axis[1].target_stride != phases) return 0;
    }
    return phases > 1;
}

/* `phase` must outlive the job; its phases are put in order. */
static void plan_forward(forward_job *f, fc_conv_job *j, fc_correlation *phase, int lines, int phases,
                         const fc_groups *groups) {
    const int count = lines * phases;
    *f = (forward_job){.run = &j->run, .lines = lines, .phases = phases, .interleaved = 1};
    for (int line = 0; line < lines; line++)
        f->interleaved &= order_phases(phase + line * phases, phases, j->size);
    fc_direct_plan like = fc_plan_direct(j->kernels, j->size, phase, groups, count, NULL);
    for (int i = 1; i < count; i++) {
        const fc_direct_plan p = fc_plan_direct(j->kernels, j->size, &phase[i], groups, count, NULL);
        for (int axis = 1; axis < 3; axis++)
            like.blocks.size[axis] = least(like.blocks.size[axis], p.blocks.size[axis]);
        like.together = least(like.together, p.together);
        like.blocks.inner = least(like.blocks.inner, p.blocks.inner);
    }
    double outputs = 0;
    for (int i = 0; i < count; i++) {
        const fc_direct_plan *p = &f->plan[i];
        f->plan[i] = fc_plan_direct(j->kernels, j->size, &phase[i], groups, count, &like);
        f->copy = most(f->copy, (ptrdiff_t)fc_aligned(p->copy));
        f->others = most(f->others, p->others);
        f->packed[i + 1] = f->packed[i] + p->others * phase[i].axis[1].taps * j->kernels->lanes;
        const double own = (double)phase[i].axis[0].outputs * (double)phase[i].axis[1].outputs;
        if (own > outputs) f->widest = p;
        outputs = own > outputs ? own : outputs;
    }
    const fc_direct_plan *p = &f->plan[0];
    const fc_axis *w = &phase->axis[1];
    if (p->by_channel || p->together > 1) f->interleaved = 0;
    f->in_place = p->by_channel || (phases == 1 && (w->outputs == 1 || w->target_stride == 1));
    f->units = fc_direct_units(f->widest);
    f->parts = least(f->units, j->run.threads);
    f->copies = f->copy * count <= SMALL_COPY ? 2 : 1;
    const fc_blocks *b = &f->widest->blocks;
    f->phase_pitch = quotient_up(b->size[2], j->kernels->lanes) * j->kernels->lanes;
    f->stage_pitch[1] = phases * f->phase_pitch;
    f->stage_pitch[0] = b->size[1] * f->stage_pitch[1];
    f->copy_room = (size_t)(f->copy * count * f->copies);
    f->table_room = fc_aligned(2 * count * f->others * (ptrdiff_t)sizeof(ptrdiff_t));
    if (p->planar) f->stage_room = fc_aligned(b->size[1] * b->size[2] * j->kernels->lanes * j->size);
    else if (!f->in_place) f->stage_room = fc_aligned(p->together * p->c->rows * f->stage_pitch[0] * j->size);
}

static void correlate(fc_conv_job *j, const fc_correlation *given, int lines, int phases,
                      const fc_groups *groups) {
    fc_correlation phase[FC_MOST_PHASES];
    forward_job f;
    memcpy(phase, given, (size_t)(lines * phases) * sizeof *phase);
    plan_forward(&f, j, phase, lines, phases, groups);
    char *packed = f.plan->by_channel ? pack(&f, phase) : NULL;
    if (f.plan->by_channel && !packed) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    fc_parallel(&j->run, (int)f.parts, forward_part, &f);
    fc_scratch_release(packed);
}

static void correlate_each(fc_conv_job *j, const fc_correlation *phase, int lines, int phases) {
    const fc_conv_problem *p = j->p;
    const fc_groups groups = {p->groups, j->K * p->y_strides[1], j->K * p->w_strides[0], j->C * p->x_strides[1]};
    correlate(j, phase, lines, phases, &groups);
}

static fc_groups forward_groups(const fc_conv_job *j) {
    const fc_conv_problem *p = j->p;
    return (fc_groups){p->groups, j->C * p->x_strides[1], j->K * p->w_strides[0], j->K * p->y_strides[1]};
}

static const char *refuses(fc_conv_op op, const fc_conv_problem *p) {
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    double bytes = (double)most(C, K) * (double)p->kernel[0] * 8 * SIDE_BY_SIDE;
    for (int i = 1; i < 3; i++) {
        const fc_axis axis = op == FC_BACKWARD_DATA ? fc_conv_backward_axis(p, i) : fc_conv_forward_axis(p, i);
        const double outputs = (double)least(axis.outputs, 8 * SIDE_BY_SIDE);
        const double step = axis.tap_step < 0 ? -(double)axis.tap_step : (double)axis.tap_step;
        bytes *= outputs * (double)axis.stride + (double)axis.taps * step;
    }
    return bytes > MOST_BYTES ? "the taps of a block of outputs span more than the workspace" : NULL;
}

static int suits(fc_conv_op op, const fc_conv_problem *p) {
    (void)op;
    return p->in_channels / p->groups <= MOST_CHANNELS && p->out_channels / p->groups <= MOST_CHANNELS;
}

static void forward(fc_conv_job *j) {
    const fc_groups groups = forward_groups(j);
    for (ptrdiff_t o = 0; o < j->p->out_size[0] && j->run.status == FC_OK; o++) {
        const fc_correlation c = fc_conv_forward_correlation(j, 0, o);
        correlate(j, &c, 1, 1, &groups);
    }
}

static void backward_weights(fc_conv_job *j) {
    const fc_groups groups = forward_groups(j);
    for (ptrdiff_t o = 0; o < j->p->out_size[0] && j->run.status == FC_OK; o++) {
        const fc_correlation c = fc_conv_forward_correlation(j, 0, o);
        fc_direct_weights(j, &c, &groups, o > 0, o == j->p->out_size[0] - 1);
    }
}

static fc_status run(fc_conv_op op, const fc_conv_problem *p, const fc_conv_arrays *a) {
    if (p->batch == 0) {
        if (op == FC_BACKWARD_WEIGHTS) fc_conv_clear_weight_gradients(p, a);
        return FC_OK;
    }
    fc_conv_job j = fc_conv_start(p, a);
    if (!j.plane) return FC_NO_MEMORY;
    if (op == FC_FORWARD) forward(&j);
    else if (op == FC_BACKWARD_DATA) fc_conv_backward_data(&j, 1, correlate_each);
    else backward_weights(&j);
    return fc_conv_end(&j);
}

/* Weights are read where they lie, or take a moment to arrange. */
static fc_status prepare(const fc_conv_problem *p, const fc_conv_arrays *a, fc_conv_weights **weights) {
    (void)p;
    (void)a;
    (void)weights;
    return FC_OK;
}

/* Correlations of addresses that are not there yet. */
static void describe(const fc_conv_problem *p, fc_conv_description *d) {
    if (p->batch == 0) return;
    static char anywhere[FC_ALIGNMENT];
    const fc_conv_arrays arrays = {.x = anywhere, .w = anywhere, .y = anywhere};
    fc_conv_job j = fc_conv_start(p, &arrays);
    if (!j.plane) return;
    const fc_groups groups = forward_groups(&j);
    fc_correlation c = fc_conv_forward_correlation(&j, 0, p->out_size[0] / 2);
    forward_job f;
    plan_forward(&f, &j, &c, 1, 1, &groups);
    snprintf(d->how, sizeof d->how, "%s in the vector%s, over padded copies of bands of %td x %td outputs",
             f.plan->by_channel ? "channels" : "pixels of a row",
             f.plan->planar ? " (planes are transposed)" : "", f.plan->blocks.size[1], f.plan->blocks.size[2]);
    d->workspace = (f.copy_room + f.table_room + f.stage_room) * (size_t)f.parts;
    fc_conv_end(&j);
}

const fc_conv_algorithm fc_conv_direct = {"direct", refuses, suits, run, prepare, describe};
