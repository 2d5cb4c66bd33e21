/* How direct.c cuts a correlation, and the padded copies of its bands. */
#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "shared.h"

/* Copies of planes should stay in L1, or nearly; those of all channels, in L2. */
static const ptrdiff_t BAND = 64 << 10, CHANNELS_BAND = 384 << 10;
/* Positions of planes that are transposed whole. */
enum { MAX_PLANAR = 1024 };

/* All positions in one residue, so that every tap of every output is the same step apart. */
static fc_residues all_of(const fc_axis *axis) {
    fc_residues p = fc_split_axis(axis, axis->outputs);
    p.one_per_tap = 0;
    p.residues = p.period = 1;
    p.advance = axis->outputs > 1 ? p.stride : 1; /* of one output it may be any number */
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
    const ptrdiff_t lanes = p->kernels->lanes, max_bytes = p->by_channel ? CHANNELS_BAND : BAND;
    const ptrdiff_t min_rows = min(h->outputs, FC_DIRECT_BLOCK);
    ptrdiff_t rows = min_rows, cols = w->outputs;
    for (cut(p, rows, cols); p->by_channel && p->copy > max_bytes && p->together > lanes; cut(p, rows, cols))
        p->blocks.inner = p->together = quotient_up(p->together / lanes, 2) * lanes;
    for (; p->copy > max_bytes && cols > 8 * lanes; cut(p, rows, cols)) cols = quotient_up(cols, 2);
    while (rows < h->outputs) {
        cut(p, min(h->outputs, rows + FC_DIRECT_BLOCK), cols);
        if (p->copy > max_bytes) break;
        rows += FC_DIRECT_BLOCK;
    }
    const ptrdiff_t blocks = quotient_up(even_block(h->outputs, rows), FC_DIRECT_BLOCK);
    cut(p, min(h->outputs, blocks * FC_DIRECT_BLOCK), cols);
}

/* The parts of a plane that are copied, where one band is all of it. */
static void fix_padding(fc_direct_plan *p) {
    const fc_blocks *b = &p->blocks;
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    p->parts = 0;
    if (p->spread || b->count[1] * b->count[2] > 1 || b->residues[1].residues > FC_MAX_RESIDUES) return;
    if (!fc_has_all_planes(p->c)) return;
    const ptrdiff_t w_stride = p->planar ? b->inner : w->source_stride;
    const ptrdiff_t h_stride = p->planar ? w->size * b->inner : h->source_stride;
    const ptrdiff_t top = b->residues[0].first, step = b->residues[1].stride;
    const ptrdiff_t rows = fc_residue_length(&b->residues[0], h->outputs);
    const ptrdiff_t columns = fc_residue_length(&b->residues[1], w->outputs);
    const ptrdiff_t above = max(0, -top), height = min(rows, h->size - top) - above;
    for (ptrdiff_t f = 0; f < b->residues[1].residues; f++) {
        const ptrdiff_t left = fc_residue_origin(&b->residues[1], f);
        const ptrdiff_t before = left < 0 ? quotient_up(-left, step) : 0;
        const ptrdiff_t inside = left < w->size ? min(columns, quotient_up(w->size - left, step)) : 0;
        if (height <= 0 || inside <= before) continue;
        p->part[p->parts].rows = (fc_padded_lines){
            .lines = height,
            .count = inside - before,
            .source_pitch = height > 1 ? h_stride : 0,
            .step = inside - before > 1 ? step * w_stride : b->inner,
            .target_pitch = b->row_stride,
            .inner = b->inner,
            .adjacent = b->inner,
        };
        p->part[p->parts].source = (top + above) * h_stride + (left + before * step) * w_stride;
        p->part[p->parts++].target = f * b->residue_stride + above * b->row_stride + before * b->inner;
    }
    if (!p->parts) p->part[p->parts++].rows = (fc_padded_lines){.lines = 0};
}

/* Whether rows of outputs are so short that vectors of channels win although channels are planes: these
 * are contiguous, and transposed as a whole (7x7: half the time; 14x14: 1.1 times as long). */
static int is_planar(const fc_correlation *c, const fc_groups *groups, ptrdiff_t lanes) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t positions = h->size * w->size;
    if (c->rows > 1 || groups->count < lanes / 2 || w->outputs > lanes / 2 || positions > MAX_PLANAR ||
        h->outputs * w->outputs > MAX_PLANAR)
        return 0;
    if (!fc_has_all_planes(c)) return 0;
    return (w->size == 1 || w->source_stride == 1) && (h->size == 1 || h->source_stride == w->size) &&
           (w->outputs == 1 || w->target_stride == 1) && (h->outputs == 1 || h->target_stride == w->outputs);
}

fc_direct_plan fc_plan_direct(const fc_kernels *kernels, ptrdiff_t size, const fc_correlation *c,
                              const fc_groups *groups, int residues, const fc_direct_plan *like) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    fc_direct_plan p = {.kernels = kernels, .size = size, .c = c, .groups = *groups, .together = 1};
    const int side_by_side = groups->x == c->planes && (c->planes == 1 || fc_are_adjacent(c));
    p.by_channel = c->rows == 1 && groups->count > 1 && groups->x == 1 && groups->y == 1;
    p.planar = !p.by_channel && residues == 1 && is_planar(c, groups, kernels->lanes) &&
               !fc_direct_is_narrow(kernels, c);
    p.by_channel |= p.planar;
    p.spread = side_by_side && !p.by_channel;
    p.blocked = p.by_channel;
    p.blocks = (fc_blocks){.axis = c->axis, .images = c->images, .x_image = c->x_image, .inner = 1};
    p.blocks.adjacent = side_by_side || p.by_channel;
    p.blocks.residues[0] = all_of(h);
    p.blocks.residues[1] = p.by_channel ? all_of(w) : fc_split_axis(w, w->outputs);
    if (p.planar)
        p.together = p.blocks.inner = kernels->lanes;
    else if (p.by_channel)
        p.together = p.blocks.inner = quotient_up(groups->count, kernels->lanes) * kernels->lanes;
    else if (p.spread)
        p.together = min(groups->count, max(1, FC_SIDE_BY_SIDE / max(c->planes, c->rows)));
    if (like) {
        p.together = like->together;
        p.blocks.inner = like->blocks.inner;
        cut(&p, like->blocks.size[1], like->blocks.size[2]);
    } else {
        choose(&p);
    }
    const fc_residues *blocked = &p.blocks.residues[p.blocked];
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
    place->groups = min(p->together, p->groups.count - place->group);
    block->start[1] = place->bands == 1 ? 0 : place->band / b->count[2] * b->size[1];
    block->start[2] = place->bands == 1 ? 0 : place->band % b->count[2] * b->size[2];
    for (int i = 1; i < 3; i++) block->count[i] = min(b->size[i], b->axis[i - 1].outputs - block->start[i]);
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
        const char *groups = c->x + place->group * p->groups.x * p->size;
        fc_fill_block(p->kernels, p->size, &p->blocks, &place->block, groups, c->x_plane, 0, place->groups * c->planes,
                      copy);
        return;
    }
    for (ptrdiff_t g = 0; g < (p->by_channel ? 1 : place->groups); g++)
        for (ptrdiff_t plane = 0; plane < c->planes; plane++, copy += stride) {
            const char *first = fc_plane(c, plane, p->size);
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
                const ptrdiff_t from = first ? 0 : FC_ZEROS;
                fc_fill_block(p->kernels, p->size, &p->blocks, &place->block, first, &from, 0,
                              p->by_channel ? place->groups : 1, copy);
            }
            for (int i = 0; i < p->parts; i++) {
                const char *source = first + (image + p->part[i].source) * p->size;
                if (!p->by_channel || place->groups == p->together) {
                    p->kernels->pad(&p->part[i].rows, source, copy + p->part[i].target * p->size);
                } else {
                    fc_padded_lines rows = p->part[i].rows;
                    rows.adjacent = place->groups;
                    p->kernels->pad(&rows, source, copy + p->part[i].target * p->size);
                }
            }
        }
}
