#include "copies.h"

#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"

/* Vectors of a line of outputs that one tile of the kernels sums at a time, at most (direct.tmpl.h). */
enum { TILE_VECTORS = 4 };
/* Vectors of columns below which a band is not cut. */
enum { MIN_VECTORS = 8 };

_Static_assert((int)FC_GRADIENT_BLOCK <= (int)FC_DIRECT_BLOCK && (int)FC_GRADIENT_BLOCK <= (int)TILE_VECTORS,
               "the adjoint reads no further beyond a copy than the kernels of y, for which it leaves space");

/* All positions in one residue, so that every tap of every output is the same step apart. */
static fc_residues all_of(const fc_axis *axis) {
    fc_residues all = fc_split_axis(axis, axis->outputs);
    all.one_per_tap = 0;
    all.residues = all.period = 1;
    all.advance = axis->outputs > 1 ? all.stride : 1; /* of one output it may be any number */
    all.stride = 1;
    all.reach = all.last_tap * all.step;
    return all;
}

/* Sets what follows from a cut. */
static void apply(fc_direct_layout *l, fc_direct_cut cut) {
    fc_blocks *b = &l->blocks;
    l->together = cut.together;
    b->inner = cut.inner;
    b->size[0] = 1;
    b->size[1] = cut.lines;
    b->size[2] = cut.columns;
    fc_lay_out(b);
    const ptrdiff_t beyond = FC_DIRECT_BLOCK * b->pitch[1 + l->blocked] + TILE_VECTORS * l->kernels->lanes;
    l->copy = ((l->by_channel ? 1 : l->together) * fc_direct_group_copy(l) + beyond) * l->size;
    l->gather = (ptrdiff_t)fc_aligned(l->copy);
    if (l->planar) l->copy = l->gather + l->axis[0].size * l->axis[1].size * b->inner * l->size;
}

/* First the groups shrink until the copies fit, then the columns; then lines are added. */
fc_direct_cut fc_direct_largest_cut(const fc_direct_layout *layout) {
    fc_direct_layout l = *layout;
    const ptrdiff_t outputs = l.axis[0].outputs, lanes = l.kernels->lanes;
    const ptrdiff_t max_bytes = l.by_channel ? FC_DIRECT_CHANNELS_BAND_BYTES : FC_DIRECT_BAND_BYTES;
    fc_direct_cut cut = {l.together, l.blocks.inner, outputs, l.axis[1].outputs};
    if (l.planar) return cut;
    cut.lines = min(outputs, FC_DIRECT_BLOCK);
    for (apply(&l, cut); l.by_channel && l.copy > max_bytes && cut.together > lanes; apply(&l, cut))
        cut.inner = cut.together = quotient_up(cut.together / lanes, 2) * lanes;
    for (; l.copy > max_bytes && cut.columns > MIN_VECTORS * lanes; apply(&l, cut))
        cut.columns = quotient_up(cut.columns, 2);
    ptrdiff_t lines = cut.lines;
    for (; lines < outputs; lines += FC_DIRECT_BLOCK) {
        cut.lines = min(outputs, lines + FC_DIRECT_BLOCK);
        apply(&l, cut);
        if (l.copy > max_bytes) break;
    }
    cut.lines = min(outputs, quotient_up(even_block(outputs, lines), FC_DIRECT_BLOCK) * FC_DIRECT_BLOCK);
    return cut;
}

/* The pieces of a plane that are copied, where one band is all of it; of a plane that lies in the padding one of no
 * lines. */
static int list_pieces(const fc_direct_layout *l, fc_direct_piece piece[FC_MAX_RESIDUES]) {
    const fc_blocks *b = &l->blocks;
    const fc_axis *h = &l->axis[0], *w = &l->axis[1];
    if (l->spread || b->count[1] * b->count[2] > 1 || b->residues[1].residues > FC_MAX_RESIDUES) return 0;
    if (!l->all_planes) return 0;
    const ptrdiff_t w_stride = l->planar ? b->inner : w->source_stride;
    const ptrdiff_t h_stride = l->planar ? w->size * b->inner : h->source_stride;
    const ptrdiff_t top = b->residues[0].first, step = b->residues[1].stride;
    const ptrdiff_t lines = fc_residue_length(&b->residues[0], h->outputs);
    const ptrdiff_t columns = fc_residue_length(&b->residues[1], w->outputs);
    const ptrdiff_t above = max(0, -top), height = min(lines, h->size - top) - above;
    int pieces = 0;
    for (ptrdiff_t f = 0; f < b->residues[1].residues; f++) {
        const ptrdiff_t left = fc_residue_origin(&b->residues[1], f);
        const ptrdiff_t before = left < 0 ? quotient_up(-left, step) : 0;
        const ptrdiff_t inside = left < w->size ? min(columns, quotient_up(w->size - left, step)) : 0;
        if (height <= 0 || inside <= before) continue;
        piece[pieces].lines = (fc_padded_lines){
            .lines = height,
            .count = inside - before,
            .source_pitch = height > 1 ? h_stride : 0,
            .step = inside - before > 1 ? step * w_stride : b->inner,
            .target_pitch = b->line_stride,
            .inner = b->inner,
            .adjacent = b->inner,
        };
        piece[pieces].source = (top + above) * h_stride + (left + before * step) * w_stride;
        piece[pieces++].target = f * b->residue_stride + above * b->line_stride + before * b->inner;
    }
    if (!pieces) piece[pieces++] = (fc_direct_piece){.lines = {.lines = 0}};
    return pieces;
}

void fc_direct_start_layout(fc_direct_layout *layout, const fc_direct_job *job, const fc_correlation *c,
                            fc_direct_arrangement arrangement) {
    const fc_kernels *kernels = job->conv->kernels;
    const fc_groups *groups = &job->groups;
    const int side_by_side = groups->x == c->planes && (c->planes == 1 || fc_are_adjacent(c));
    FC_ASSERT(kernels->lanes <= FC_DIRECT_SIDE_BY_SIDE);
    *layout = (fc_direct_layout){
        .kernels = kernels,
        .size = job->conv->size,
        .groups = *groups,
        .axis = {c->axis[0], c->axis[1]},
        .planes = c->planes,
        .all_planes = fc_has_all_planes(c),
        .by_channel = arrangement != FC_DIRECT_COPIES,
        .planar = arrangement == FC_DIRECT_TRANSPOSED,
        .spread = arrangement == FC_DIRECT_COPIES && side_by_side,
        .blocked = arrangement != FC_DIRECT_COPIES,
        .together = 1,
    };
    fc_direct_layout *l = layout;
    l->blocks = (fc_blocks){.axis = l->axis, .images = c->images, .x_image = c->x_image, .inner = 1};
    l->blocks.adjacent = side_by_side || l->by_channel;
    l->blocks.residues[0] = all_of(&l->axis[0]);
    l->blocks.residues[1] = l->by_channel ? all_of(&l->axis[1]) : fc_split_axis(&l->axis[1], l->axis[1].outputs);
    if (l->planar)
        l->together = l->blocks.inner = kernels->lanes;
    else if (l->by_channel)
        l->together = l->blocks.inner = quotient_up(groups->count, kernels->lanes) * kernels->lanes;
    else if (l->spread)
        l->together = min(groups->count, max(1, FC_DIRECT_SIDE_BY_SIDE / max(c->planes, c->out_channels)));
}

int fc_direct_finish_layout(fc_plan *plan, fc_direct_layout *layout, fc_direct_cut cut) {
    fc_direct_layout *l = layout;
    fc_direct_piece piece[FC_MAX_RESIDUES];
    apply(l, cut);
    const fc_residues *blocked = &l->blocks.residues[l->blocked];
    l->bundles = quotient_up(l->groups.count, l->together);
    l->others = l->planes * l->axis[!l->blocked].taps;
    l->lowest = blocked->reversed ? blocked->last_tap : 0;
    l->tap_step = blocked->step * (l->blocked ? l->blocks.inner : l->blocks.line_stride);
    l->pieces = list_pieces(l, piece);
    FC_ASSERT(!l->planar || l->pieces == 1);
    if (!l->pieces) return 1;
    const size_t bytes = (size_t)l->pieces * sizeof *piece;
    fc_direct_piece *kept = fc_plan_allocate(plan, bytes);
    if (kept) memcpy(kept, piece, bytes);
    l->piece = kept;
    return kept != NULL;
}

void fc_direct_tables(const fc_direct_layout *layout, const fc_correlation *c, ptrdiff_t *other_x, ptrdiff_t *other_w) {
    const fc_direct_layout *l = layout;
    const fc_axis *other = &l->axis[!l->blocked], *blocked = &l->axis[l->blocked];
    FC_ASSERT(c->planes == l->planes);
    for (ptrdiff_t plane = 0; plane < l->planes; plane++)
        for (ptrdiff_t t = 0; t < other->taps; t++) {
            *other_x++ = plane * l->blocks.plane_stride + fc_tap_offset(&l->blocks, l->blocked ? t : l->lowest,
                                                                       l->blocked ? l->lowest : t);
            *other_w++ = c->w_plane[plane] + other->weight + t * other->weight_step + blocked->weight +
                         l->lowest * blocked->weight_step;
        }
}

ptrdiff_t fc_direct_units(const fc_direct_layout *layout) {
    return layout->blocks.images * layout->bundles * layout->blocks.count[1] * layout->blocks.count[2];
}

/* With channels side by side all groups of a band, before its lines leave the cache. */
static int bundles_first(const fc_direct_layout *l) { return l->by_channel || l->spread; }

static void stand(const fc_direct_layout *l, fc_direct_place *place) {
    const fc_blocks *b = &l->blocks;
    fc_block *block = &place->block;
    place->group = place->bundle * l->together;
    place->groups = min(l->together, l->groups.count - place->group);
    block->start[1] = place->bands == 1 ? 0 : place->band / b->count[2] * b->size[1];
    block->start[2] = place->bands == 1 ? 0 : place->band % b->count[2] * b->size[2];
    for (int i = 1; i < 3; i++) block->count[i] = min(b->size[i], b->axis[i - 1].outputs - block->start[i]);
}

fc_direct_place fc_direct_find(const fc_direct_layout *layout, ptrdiff_t unit) {
    const fc_direct_layout *l = layout;
    fc_direct_place place = {.bands = l->blocks.count[1] * l->blocks.count[2]};
    const ptrdiff_t of_image = unit % (l->bundles * place.bands);
    place.bundle = bundles_first(l) ? of_image % l->bundles : of_image / place.bands;
    place.band = bundles_first(l) ? of_image / l->bundles : of_image % place.bands;
    place.block.start[0] = unit / (l->bundles * place.bands);
    place.block.count[0] = 1;
    stand(l, &place);
    return place;
}

void fc_direct_next(const fc_direct_layout *layout, fc_direct_place *place) {
    const fc_direct_layout *l = layout;
    const int bundle_is_inner = bundles_first(l);
    ptrdiff_t *inner = bundle_is_inner ? &place->bundle : &place->band;
    ptrdiff_t *outer = bundle_is_inner ? &place->band : &place->bundle;
    if (++*inner == (bundle_is_inner ? l->bundles : place->bands)) {
        *inner = 0;
        if (++*outer == (bundle_is_inner ? place->bands : l->bundles)) {
            *outer = 0;
            place->block.start[0]++;
        }
    }
    stand(l, place);
}

/* One plane of so many groups, the first of which is at `first`; NULL: zeros. */
static void fill_plane(const fc_direct_layout *l, const fc_direct_place *place, ptrdiff_t groups, const char *first,
                       char *copy) {
    const ptrdiff_t size = l->size, image = place->block.start[0] * l->blocks.x_image;
    if (!l->pieces) {
        const ptrdiff_t from = first ? 0 : FC_ZEROS;
        fc_fill_block(l->kernels, size, &l->blocks, &place->block, first, &from, groups, copy);
    }
    for (int i = 0; i < l->pieces; i++) {
        const fc_direct_piece *piece = &l->piece[i];
        const char *source = first + (image + piece->source) * size;
        if (!l->by_channel || groups == l->together) {
            l->kernels->pad(&piece->lines, source, copy + piece->target * size);
        } else {
            fc_padded_lines lines = piece->lines;
            lines.adjacent = groups;
            l->kernels->pad(&lines, source, copy + piece->target * size);
        }
    }
}

/* One plane of a vector of groups, by way of one that is transposed whole. */
static void fill_transposed(const fc_direct_layout *l, const fc_direct_place *place, const char *first, char *gathered,
                            char *copy) {
    const ptrdiff_t size = l->size, image = place->block.start[0] * l->blocks.x_image;
    const ptrdiff_t positions = l->axis[0].size * l->axis[1].size;
    l->kernels->transpose(place->groups, positions, first + image * size, l->groups.x, gathered, l->blocks.inner);
    l->kernels->pad(&l->piece->lines, gathered + l->piece->source * size, copy + l->piece->target * size);
}

void fc_direct_fill(const fc_direct_layout *layout, const fc_correlation *c, const fc_direct_place *place, char *copy) {
    const fc_direct_layout *l = layout;
    const ptrdiff_t stride = l->blocks.plane_stride * l->size;
    char *const gathered = copy + l->gather;
    FC_ASSERT(c->planes == l->planes && fc_has_all_planes(c) == l->all_planes);
    if (l->spread) { /* all planes of all groups at once */
        const char *groups = c->x + place->group * l->groups.x * l->size;
        fc_fill_block(l->kernels, l->size, &l->blocks, &place->block, groups, c->x_plane, place->groups * l->planes,
                      copy);
        return;
    }
    for (ptrdiff_t g = 0; g < (l->by_channel ? 1 : place->groups); g++)
        for (ptrdiff_t plane = 0; plane < l->planes; plane++, copy += stride) {
            const char *first = fc_plane(c, plane, l->size);
            if (first) first += (place->group + g) * l->groups.x * l->size;
            if (l->planar) fill_transposed(l, place, first, gathered, copy);
            else fill_plane(l, place, l->by_channel ? place->groups : 1, first, copy);
        }
}
