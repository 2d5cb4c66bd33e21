#include "correlate.h"

#include <string.h>

#include "../arithmetic.h"
#include "../memory.h"
#include "../packing/fill.h"

/* Bytes of a block of the input in a core's L2. */
enum { BLOCK_BYTES = 384 << 10 };
/* Longest chain of sums in one register: longer ones lose accuracy, shorter ones cost stores. */
enum { CHAIN = 768 };
/* Weights whose terms do not follow each other (backward data) are copied up to this size: read
 * in place, every term would be on a page of its own. */
enum { PACKED_WEIGHTS_BYTES = 12 << 20 };
/* Columns of a block of written-out taps; 224 are 5 % slower on rn50_l4_3x3 and vgg_c4. */
enum { PACKED_PIXELS = 448 };

typedef struct {
    const fc_correlation *c;
    const fc_kernels *kernels;
    ptrdiff_t size; /* bytes of an element */
    fc_phases phases[2];
    int packed;              /* taps written out as columns */
    ptrdiff_t images;        /* of a block */
    ptrdiff_t rectangle[2];  /* outputs of a block */
    ptrdiff_t blocks[3];     /* in images, height, width */
    ptrdiff_t row_parts;     /* a block's output channels are shared out among so many tasks */
    ptrdiff_t depth;         /* terms a block holds at once: whole planes unless packed */
    ptrdiff_t pitch[2];      /* elements of the block between images, between rows */
    ptrdiff_t plane_stride;  /* elements of a filled plane, all phases and images */
    ptrdiff_t phase_stride;
    ptrdiff_t pixels;        /* length of a row of the block's matrix, from first to last output */
    int parts;
    char *weights; /* copy [panel of rows][term][row of the panel], or NULL */
    fc_run *run;
} plan;

static ptrdiff_t taps_of(const plan *p) { return p->c->axis[0].taps * p->c->axis[1].taps; }

/* Geometry of filled planes for the block size in p->rectangle and p->images. */
static void set_strides(plan *p) {
    const ptrdiff_t rows = p->rectangle[0] + p->phases[0].reach;
    const ptrdiff_t columns = p->rectangle[1] + p->phases[1].reach;
    p->pitch[1] = columns;
    p->pitch[0] = rows * columns;
    p->phase_stride = p->images * rows * columns;
    p->plane_stride = p->phases[0].phases * p->phases[1].phases * p->phase_stride;
    p->pixels = (p->images - 1) * p->pitch[0] + (p->rectangle[0] - 1) * columns + p->rectangle[1];
}

/* Blocks of filled planes: as many rows as leave room for a chain's worth of planes. */
static void choose_flat(plan *p) {
    const fc_correlation *c = p->c;
    const ptrdiff_t budget = BLOCK_BYTES / p->size;
    const ptrdiff_t planes = least(c->planes, most(1, CHAIN / taps_of(p)));
    p->packed = 0;
    p->images = 1;
    p->rectangle[1] = even_block(c->axis[1].outputs, c->axis[0].outputs == 1 ? 2048 : 640);
    p->rectangle[0] = 1;
    set_strides(p);
    const ptrdiff_t per_row = planes * p->phases[0].phases * p->phases[1].phases * p->pitch[1];
    const ptrdiff_t rows = even_block(c->axis[0].outputs, budget / per_row - p->phases[0].reach);
    const fc_phases own = fc_split_axis(&c->axis[0], 1);
    if ((rows + p->phases[0].reach) * p->phases[0].phases > rows * own.phases + own.reach) {
        /* Taps further apart than the block is high share nothing. */
        p->phases[0] = own;
        set_strides(p);
        const ptrdiff_t own_row = planes * own.phases * p->phases[1].phases * p->pitch[1];
        p->rectangle[0] = even_block(c->axis[0].outputs, budget / own_row - own.reach);
    } else {
        p->rectangle[0] = rows;
    }
    set_strides(p);
    p->depth = least(c->planes, most(1, budget / p->plane_stride)) * taps_of(p);
}

/* Blocks of written-out taps: whole small images, or rows of a larger one. */
static void choose_packed(plan *p) {
    const fc_correlation *c = p->c;
    const ptrdiff_t image = c->axis[0].outputs * c->axis[1].outputs;
    p->packed = 1;
    p->rectangle[1] = even_block(c->axis[1].outputs, PACKED_PIXELS);
    p->rectangle[0] = even_block(c->axis[0].outputs, PACKED_PIXELS / p->rectangle[1]);
    p->images = p->rectangle[0] * p->rectangle[1] == image
                    ? even_block(c->images, PACKED_PIXELS / image) : 1;
    set_strides(p);
    if (p->images > 1 && p->plane_stride > BLOCK_BYTES / p->size) {
        p->images = even_block(p->images, BLOCK_BYTES / p->size / (p->plane_stride / p->images));
        set_strides(p);
    }
    p->pixels = p->images * p->rectangle[0] * p->rectangle[1];
    p->depth = even_block(c->planes * taps_of(p), BLOCK_BYTES / p->size / p->pixels);
}

/* Share of the multiplications that is not spent on padding, nor its time on writing out taps. */
static double efficiency(const plan *p) {
    const double lanes = p->kernels->lanes;
    const double outputs = (double)(p->images * p->rectangle[0] * p->rectangle[1]);
    const double computed = (double)quotient_up(p->pixels, p->kernels->lanes) * lanes;
    if (!p->packed) return outputs / computed;
    /* Four cycles a vector to write out, two multiplications of a vector a cycle. */
    const double vectors = (double)quotient_up(p->rectangle[1], p->kernels->lanes);
    const double writing = 8 * vectors * lanes / (double)p->rectangle[1] / (double)p->c->rows;
    return outputs / computed / (1 + writing);
}

static void choose(plan *p) {
    const fc_correlation *c = p->c;
    const int threads = p->run->threads;
    for (int a = 0; a < 2; a++)
        p->phases[a] = fc_split_axis(&c->axis[a], least(c->axis[a].outputs, a ? 2048 : 64));
    const fc_phases shared = p->phases[0];
    choose_flat(p);
    const plan flat = *p;
    p->phases[0] = shared;
    choose_packed(p);
    /* A piece of a plane's taps fills the whole plane again: only where planes are held whole. */
    const int refills = p->depth < taps_of(p) && p->plane_stride > p->pixels * p->depth;
    if (refills || efficiency(&flat) >= efficiency(p)) *p = flat;
    p->blocks[0] = quotient_up(c->images, p->images);
    p->blocks[1] = quotient_up(c->axis[0].outputs, p->rectangle[0]);
    p->blocks[2] = quotient_up(c->axis[1].outputs, p->rectangle[1]);
    const ptrdiff_t blocks = p->blocks[0] * p->blocks[1] * p->blocks[2];
    const ptrdiff_t panels = quotient_up(c->rows, p->kernels->rows);
    /* Few blocks are cut by rows too, so that every thread gets the same. */
    p->row_parts = 1;
    while (blocks < 8 * threads && p->row_parts < panels && blocks * p->row_parts % threads)
        p->row_parts++;
    p->parts = (int)least(threads, blocks * p->row_parts);
}

/* Scratch of one task. */
typedef struct {
    char *block, *stage;
    ptrdiff_t *a_offsets, *b_offsets;
    char *tile;
} workspace;

static size_t aligned(size_t bytes) {
    return (bytes + FC_ALIGNMENT - 1) / FC_ALIGNMENT * FC_ALIGNMENT;
}

static char *acquire(const plan *p, workspace *ws) {
    const ptrdiff_t slack = 2 * FC_MAX_COLS;
    const ptrdiff_t filled = p->packed ? p->plane_stride : p->depth / taps_of(p) * p->plane_stride;
    const ptrdiff_t columns = p->packed ? p->depth * p->pixels : 0;
    const size_t block = aligned((size_t)((p->packed ? columns : filled) + slack) * p->size);
    const size_t stage = p->packed ? aligned((size_t)(filled + slack) * p->size) : 0;
    const size_t table = aligned(sizeof(ptrdiff_t) * (size_t)least(CHAIN, p->depth));
    const size_t tile = aligned((size_t)(FC_MAX_ROWS * FC_MAX_COLS * p->size));
    char *scratch = fc_scratch_acquire(block + stage + 2 * table + tile);
    if (!scratch) return NULL;
    ws->block = scratch;
    ws->stage = scratch + block;
    ws->a_offsets = (ptrdiff_t *)(ws->stage + stage);
    ws->b_offsets = (ptrdiff_t *)((char *)ws->a_offsets + table);
    ws->tile = (char *)ws->b_offsets + table;
    memset(ws->block + block - slack * p->size, 0, (size_t)(slack * p->size));
    if (stage) memset(ws->stage + stage - slack * p->size, 0, (size_t)(slack * p->size));
    return scratch;
}

/* A task's share: images, rectangle of outputs, rows. */
typedef struct {
    ptrdiff_t image, images;
    fc_rectangle rectangle;
    ptrdiff_t row0, row1;
} share;

/* Offset in the weights that tap (s, t) adds. */
static ptrdiff_t tap_weight(const fc_correlation *c, ptrdiff_t s, ptrdiff_t t) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    return h->weight + s * h->weight_step + w->weight + t * w->weight_step;
}

/* Offset within a filled plane that tap (s, t) adds. */
static ptrdiff_t tap_offset(const plan *p, ptrdiff_t s, ptrdiff_t t) {
    const fc_phases *h = &p->phases[0], *w = &p->phases[1];
    const ptrdiff_t phase = fc_phase_of_tap(h, s) * w->phases + fc_phase_of_tap(w, t);
    return phase * p->phase_stride + fc_shift_of_tap(h, s) * p->pitch[1] + fc_shift_of_tap(w, t);
}

static void fill(const plan *p, const share *sh, ptrdiff_t plane, char *target) {
    const fc_correlation *c = p->c;
    for (ptrdiff_t n = 0; n < sh->images; n++) {
        const char *source = c->x_plane[plane];
        if (source) source += (sh->image + n) * c->x_image * p->size;
        fc_fill_plane(p->kernels, p->size, c->axis, p->phases, &sh->rectangle, source,
                      target + n * p->pitch[0] * p->size, p->pitch[1], p->phase_stride);
    }
}

/* Writes out terms [depth0, depth1) as rows of the block. */
static void write_columns(const plan *p, const workspace *ws, const share *sh, ptrdiff_t depth0,
                          ptrdiff_t depth1) {
    const ptrdiff_t taps = taps_of(p), taps_w = p->c->axis[1].taps;
    const ptrdiff_t rows = sh->rectangle.count[0], run = sh->rectangle.count[1];
    ptrdiff_t filled = -1;
    for (ptrdiff_t d = depth0; d < depth1; d++) {
        const ptrdiff_t plane = d / taps, tap = d % taps;
        if (plane != filled) fill(p, sh, filled = plane, ws->stage);
        const char *source =
            ws->stage + tap_offset(p, tap / taps_w, tap % taps_w) * p->size;
        char *row = ws->block + (d - depth0) * p->pixels * p->size;
        for (ptrdiff_t n = 0; n < sh->images; n++)
            p->kernels->pack(rows, run, source + n * p->pitch[0] * p->size, p->pitch[1],
                             row + n * rows * run * p->size);
    }
}

/* Offsets of terms [depth0, depth1): into the weights, and into the block, which holds the terms
 * from `block0` on. */
static void set_offsets(const plan *p, const workspace *ws, ptrdiff_t block0, ptrdiff_t depth0,
                        ptrdiff_t depth1) {
    const fc_correlation *c = p->c;
    const ptrdiff_t taps = taps_of(p), taps_w = c->axis[1].taps;
    ptrdiff_t *a = ws->a_offsets, *b = ws->b_offsets;
    for (ptrdiff_t d = depth0; d < depth1; d++, a++, b++) {
        const ptrdiff_t plane = d / taps, s = d % taps / taps_w, t = d % taps % taps_w;
        if (p->weights) *a = (d - depth0) * p->kernels->rows;
        if (d - depth0 >= taps) { /* the same tap of the plane before */
            if (!p->weights) *a = a[-taps] + c->w_plane[plane] - c->w_plane[plane - 1];
            *b = b[-taps] + (p->packed ? taps * p->pixels : p->plane_stride);
            continue;
        }
        if (!p->weights) *a = c->w_plane[plane] + tap_weight(c, s, t);
        *b = p->packed ? (d - block0) * p->pixels
                       : (plane - block0 / taps) * p->plane_stride + tap_offset(p, s, t);
    }
}

/* Writes the outputs among columns [column, column + width) of the block's matrix. */
static void store_tile(const plan *p, const workspace *ws, const share *sh, ptrdiff_t row,
                       ptrdiff_t rows, ptrdiff_t column, ptrdiff_t width, ptrdiff_t tile_stride,
                       const fc_store *store) {
    const fc_correlation *c = p->c;
    ptrdiff_t run = sh->rectangle.count[1], height = sh->rectangle.count[0];
    const ptrdiff_t image_pitch = p->packed ? run * height : p->pitch[0];
    if (p->packed && c->axis[0].target_stride == run * c->axis[1].target_stride) {
        run *= height; /* rows follow each other on both sides */
        height = 1;
    }
    const ptrdiff_t pitch = p->packed ? run : p->pitch[1];
    char *y = (char *)c->y + row * c->y_row * p->size;
    ptrdiff_t n = column / image_pitch, h = column % image_pitch / pitch;
    ptrdiff_t w = column % image_pitch % pitch;
    for (ptrdiff_t done = 0; done < width;) {
        const ptrdiff_t length = h < height ? least(run - w, width - done) : 0;
        if (length > 0) {
            void *y_rows[FC_MAX_ROWS];
            const ptrdiff_t offset = (sh->image + n) * c->y_image +
                                     (sh->rectangle.start[0] + h) * c->axis[0].target_stride +
                                     (sh->rectangle.start[1] + w) * c->axis[1].target_stride;
            for (ptrdiff_t i = 0; i < rows; i++) y_rows[i] = y + (offset + i * c->y_row) * p->size;
            p->kernels->store(rows, length, ws->tile + done * p->size, tile_stride, y_rows,
                              c->axis[1].target_stride, store);
        }
        done += pitch - w;
        w = 0;
        if (++h * pitch >= image_pitch) {
            h = 0;
            n++;
        }
    }
}

/* All tiles of the share for terms [depth0, depth1), which ws's tables describe. */
static void multiply(const plan *p, const workspace *ws, const share *sh,
                     ptrdiff_t depth0, ptrdiff_t depth1) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const ptrdiff_t total = c->planes * taps_of(p);
    const int last = depth1 == total;
    const ptrdiff_t pixels = p->packed
                                 ? sh->images * sh->rectangle.count[0] * sh->rectangle.count[1]
                                 : (sh->images - 1) * p->pitch[0] +
                                       (sh->rectangle.count[0] - 1) * p->pitch[1] + sh->rectangle.count[1];
    for (ptrdiff_t row = sh->row0; row < sh->row1; row += k->rows) {
        const ptrdiff_t rows = least(k->rows, sh->row1 - row);
        if (fc_stopped(p->run)) return;
        const void *a_rows[FC_MAX_ROWS], *bias[FC_MAX_ROWS];
        for (ptrdiff_t i = 0; i < rows; i++) {
            a_rows[i] = p->weights ? p->weights + (row * total + depth0 * k->rows + i) * p->size
                                   : (const char *)c->w + (row + i) * c->w_row * p->size;
            bias[i] = (const char *)c->bias + (row + i) * p->size;
        }
        const fc_store store = {depth0 > 0, c->relu && last, c->bias && depth0 == 0 ? bias : NULL};
        for (ptrdiff_t column = 0; column < pixels; column += (ptrdiff_t)k->vecs * k->lanes) {
            const ptrdiff_t width = least((ptrdiff_t)k->vecs * k->lanes, pixels - column);
            const ptrdiff_t vecs = quotient_up(width, k->lanes);
            k->gemm[rows - 1][vecs - 1](depth1 - depth0, a_rows, ws->a_offsets,
                                        ws->block + column * p->size, ws->b_offsets, ws->tile);
            store_tile(p, ws, sh, row, rows, column, width, vecs * k->lanes, &store);
        }
    }
}

static void run_share(const plan *p, const workspace *ws, const share *sh) {
    const ptrdiff_t taps = taps_of(p), total = p->c->planes * taps;
    for (ptrdiff_t block0 = 0; block0 < total; block0 += p->depth) {
        const ptrdiff_t block1 = least(total, block0 + p->depth);
        if (p->packed) {
            write_columns(p, ws, sh, block0, block1);
        } else {
            for (ptrdiff_t plane = block0 / taps; plane < block1 / taps; plane++)
                fill(p, sh, plane, ws->block + (plane - block0 / taps) * p->plane_stride * p->size);
        }
        const ptrdiff_t chain = even_block(block1 - block0, CHAIN);
        for (ptrdiff_t depth0 = block0; depth0 < block1; depth0 += chain) {
            const ptrdiff_t depth1 = least(block1, depth0 + chain);
            set_offsets(p, ws, block0, depth0, depth1);
            multiply(p, ws, sh, depth0, depth1);
        }
    }
}

static void run_part(void *context, int part) {
    const plan *p = context;
    const fc_correlation *c = p->c;
    workspace ws;
    char *scratch = acquire(p, &ws);
    if (!scratch) {
        fc_stop(p->run, FC_NO_MEMORY);
        return;
    }
    const ptrdiff_t units = p->blocks[0] * p->blocks[1] * p->blocks[2] * p->row_parts;
    const ptrdiff_t end = units * (part + 1) / p->parts;
    const ptrdiff_t panels = quotient_up(c->rows, p->kernels->rows);
    for (ptrdiff_t unit = units * part / p->parts; unit < end;) {
        /* The rows of one block that are this task's, at once: the block is copied once. */
        const ptrdiff_t first = unit % p->row_parts;
        const ptrdiff_t last = least(p->row_parts, first + end - unit);
        ptrdiff_t index = unit / p->row_parts;
        share sh;
        sh.row0 = panels * first / p->row_parts * p->kernels->rows;
        sh.row1 = least(c->rows, panels * last / p->row_parts * p->kernels->rows);
        unit += last - first;
        for (int a = 1; a >= 0; a--) {
            sh.rectangle.start[a] = index % p->blocks[a + 1] * p->rectangle[a];
            sh.rectangle.count[a] = least(p->rectangle[a], c->axis[a].outputs - sh.rectangle.start[a]);
            index /= p->blocks[a + 1];
        }
        sh.image = index * p->images;
        sh.images = least(p->images, c->images - sh.image);
        run_share(p, &ws, &sh);
    }
    fc_scratch_release(scratch);
}

/* Whether the taps of a plane follow each other in the weights. */
static int taps_are_in_order(const plan *p) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    return (w->taps == 1 || w->weight_step == 1) && (h->taps == 1 || h->weight_step == w->taps);
}

/* Whether all terms of a row do. */
static int weights_are_in_order(const plan *p) {
    const fc_correlation *c = p->c;
    if (!taps_are_in_order(p)) return 0;
    for (ptrdiff_t plane = 1; plane < c->planes; plane++)
        if (c->w_plane[plane] - c->w_plane[plane - 1] != taps_of(p)) return 0;
    return 1;
}

/* Copies a share of the panels of rows. A panel's target is written from end to end: the targets of
 * different panels are often a power of two apart. */
static void pack_weights(void *context, int part) {
    const plan *p = context;
    const fc_correlation *c = p->c;
    const ptrdiff_t taps = taps_of(p), taps_w = c->axis[1].taps, R = p->kernels->rows;
    const ptrdiff_t panels = quotient_up(c->rows, R), parts = p->run->threads;
    const int contiguous = taps_are_in_order(p) && taps > 1;
    for (ptrdiff_t panel = panels * part / parts; panel < panels * (part + 1) / parts; panel++) {
        const ptrdiff_t rows = least(R, c->rows - panel * R);
        char *target = p->weights + panel * c->planes * taps * R * p->size;
        for (ptrdiff_t plane = 0; plane < c->planes; plane++) {
            const char *source =
                (const char *)c->w + (panel * R * c->w_row + c->w_plane[plane]) * p->size;
            if (contiguous) {
                p->kernels->transpose(rows, taps, source + tap_weight(c, 0, 0) * p->size, c->w_row,
                                      target, R);
            } else {
                for (ptrdiff_t tap = 0; tap < taps; tap++)
                    p->kernels->copy(rows, source + tap_weight(c, tap / taps_w, tap % taps_w) * p->size,
                                     c->w_row, target + tap * R * p->size);
            }
            target += taps * R * p->size;
        }
    }
}

/* Whether outputs are the positions of the axis, one for one. */
static int is_identity(const fc_axis *a) {
    return a->taps == 1 && a->stride == 1 && a->tap == 0 && a->size == a->outputs;
}

/* Images that are read and written pixel by pixel, without a gap, are lines. */
static fc_correlation merge_axes(const fc_correlation *correlation) {
    fc_correlation c = *correlation;
    fc_axis *h = &c.axis[0], *w = &c.axis[1];
    if (is_identity(h) && is_identity(w) && h->source_stride == w->size * w->source_stride &&
        h->target_stride == w->size * w->target_stride) {
        w->size = w->outputs = h->size * w->size;
        w->weight += h->weight;
        h->size = h->outputs = 1;
        h->weight = 0;
    }
    return c;
}

void fc_correlate(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                  const fc_correlation *correlation) {
    const fc_correlation merged = merge_axes(correlation), *c = &merged;
    plan p = {.c = c, .kernels = kernels, .size = element_size, .run = run};
    choose(&p);
    const ptrdiff_t rows = quotient_up(c->rows, kernels->rows) * kernels->rows;
    const ptrdiff_t bytes = rows * c->planes * taps_of(&p) * p.size;
    if (bytes <= PACKED_WEIGHTS_BYTES && !weights_are_in_order(&p)) {
        p.weights = fc_scratch_acquire((size_t)bytes);
        if (!p.weights) {
            fc_stop(run, FC_NO_MEMORY);
            return;
        }
        fc_parallel(run, run->threads, pack_weights, &p);
    }
    fc_parallel(run, p.parts, run_part, &p);
    fc_scratch_release(p.weights);
}
