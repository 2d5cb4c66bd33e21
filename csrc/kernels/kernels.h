/* What the kernels of one instruction set and element type are: a table of pointers.
 * Elements are float or double throughout a table; pointers to them are void here. */
#ifndef FC_KERNELS_H
#define FC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "../fastconv.h"

enum {
    FC_MAX_ROWS = 8,                /* rows of the largest register tile */
    FC_MAX_VECS = 4,                /* vectors across it */
    FC_MAX_COLS = 16 * FC_MAX_VECS, /* elements across the widest tile of any instruction set */
    FC_LINE = 64,                   /* bytes of a cache line */
    FC_AHEAD = 8,                   /* rows of b that a tile fetches ahead */
    FC_TRANSPOSE_BLOCK = 16,        /* columns of a matrix that are transposed at a time */
    FC_WINOGRAD_CHAIN = 64,         /* terms of Winograd's sums in a register: longer chains lose accuracy */
    FC_POOL_COLUMNS = 16,           /* sums of columns that windows of a pool share */
    FC_POOL_LINE_ROWS = 16,         /* of windows that are pooled line by line, at most, */
    FC_POOL_LINE_TAPS = 32,         /* and columns of these */
    FC_DIRECT_BLOCK = 8,   /* outputs of a block of direct kernels, at most */
    FC_GRADIENT_BLOCK = 4, /* and of their adjoint */
    FC_GRADIENT_CHAIN = 128, /* terms of a sum of dw in a register, or one block of rows: with 784 the error was 2.6
                              * times as large */
    FC_DOT_ROWS = 4,       /* images of a tile of dot products */
    FC_DOT_SUMS = 32,      /* elements for its sums, whole vectors of them */
    FC_NARROW_TAPS = 7,    /* of each axis of narrow planes, at most */
};

/* Which rows of b a tile fetches to L1 some terms ahead. */
typedef enum {
    FC_ROWS_FOLLOW,    /* those that follow in memory */
    FC_ROWS_SCATTERED, /* those that the table names, which has FC_AHEAD entries more than terms */
    FC_ROWS_NEAR       /* none: they are in L1 */
} fc_rows_of_b;

/* A tile of a gathered GEMM: gemm_kernel.tmpl.h. */
typedef struct {
    ptrdiff_t depth;
    const void *const *a_rows;
    const ptrdiff_t *a_offsets;
    const void *b;
    const ptrdiff_t *b_offsets;
    void *c;
    ptrdiff_t c_row;     /* elements between its rows */
    const void *bias;    /* what the sums start from, or NULL: zeros */
    int bias_is_column;  /* one element a row of c, or one a column */
    int accumulate;      /* add what c holds */
    int relu;            /* c = max(c, 0), NaN kept */
    fc_rows_of_b rows_of_b;
    /* What later tiles read is brought to L2 meanwhile, fetch_step elements each term (0: nothing): of rows from
     * fetch + fetch_offsets[i] on, each fetched in fetch_terms; the first, of which fetch_done have been, is split. */
    const void *fetch;
    const ptrdiff_t *fetch_offsets;
    ptrdiff_t fetch_step, fetch_terms, fetch_done;
} fc_tile;

typedef void (*fc_gemm_kernel)(const fc_tile *tile);

/* y_rows[i][j * y_step] = tile[i][j] (+ what y holds), then max(y, 0), NaN kept; i < rows, j < cols. */
typedef void (*fc_store_kernel)(ptrdiff_t rows, ptrdiff_t cols, const void *tile,
                                ptrdiff_t tile_stride, void *const *y_rows, ptrdiff_t y_step,
                                int accumulate, int relu);

/* sums[j] += sum over i < rows of matrix[i * stride + j], j < cols. */
typedef void (*fc_sum_kernel)(ptrdiff_t rows, ptrdiff_t cols, const void *matrix, ptrdiff_t stride,
                              double *sums);

/* Whether no element is infinite or NaN. */
typedef int (*fc_finite_kernel)(ptrdiff_t count, const void *source);

/* target[i] += source[i]. */
typedef void (*fc_add_kernel)(ptrdiff_t count, const void *source, void *target);

/* target[c * target_stride + r] = source[r * source_stride + c]. */
typedef void (*fc_transpose_kernel)(ptrdiff_t rows, ptrdiff_t cols, const void *source,
                                    ptrdiff_t source_stride, void *target,
                                    ptrdiff_t target_stride);

/* target[i] = source[i * step], i < count, count > 0. */
typedef void (*fc_copy_kernel)(ptrdiff_t count, const void *source, ptrdiff_t step, void *target);

/* Rows of a padded block: `before` positions of zeros, `count` from the source, `step` apart, `after`
 * of zeros. A position is `inner` elements, of which the source has the first `adjacent`. */
typedef struct {
    ptrdiff_t rows, before, count, after;
    ptrdiff_t source_pitch, step, target_pitch;
    ptrdiff_t inner, adjacent;
} fc_padded_rows;

typedef void (*fc_pad_kernel)(const fc_padded_rows *shape, const void *source, void *target);

/* Outputs of one channel, or with channels in the vector of as many as it has lanes: `outputs` along the
 * blocked axis, `width` adjacent elements each. Output m of element i is
 *   bias + sum over k < others, r < taps of w[other_w[k] + r * w_tap]
 *                                           * x[other_x[k] + m * x_step + r * tap_step + i].
 * x is readable up to the outputs of a whole block, and to whole vectors of it. */
typedef struct {
    ptrdiff_t outputs, width;
    ptrdiff_t taps, tap_step, w_tap;
    ptrdiff_t x_step, y_step;
    ptrdiff_t others;
    const ptrdiff_t *other_x, *other_w;
    const void *w, *bias;
    int relu;
} fc_direct;

/* Its adjoint in the weights; elements `repeats` times, x_repeat and dy_repeat apart. */
typedef struct {
    ptrdiff_t outputs, repeats; /* outputs: a multiple of FC_GRADIENT_BLOCK */
    ptrdiff_t x_repeat, dy_repeat;
    ptrdiff_t taps, tap_step;
    ptrdiff_t x_step, dy_step;
    ptrdiff_t others;
    const ptrdiff_t *other;
} fc_direct_gradient;

/* Outputs of one channel, or of two, over planes where they lie, of which all positions outside are zeros. Output
 * (m, q) of channel k is
 *   bias[k] + sum over planes c, r < taps, t < the residue's taps of
 *             w[k * w_channel + w_plane[c] + residue.w + r * w_row + t * w_column]
 *             * x[c][m * stride + origin + r * row_step][q * column_stride + residue.origin + t * tap_step].
 * With two residues, of stride 1, that is output 2 * q of the row, and that of the second, 2 * q + 1. */
typedef struct {
    ptrdiff_t rows, columns, pitch; /* of a plane; elements between rows */
    ptrdiff_t stride, origin, taps, row_step;
    ptrdiff_t column_stride, tap_step;
    struct {
        ptrdiff_t origin, taps, w;
    } residue[2];
    int residues;
    ptrdiff_t planes;
    const ptrdiff_t *w_plane;
    ptrdiff_t w_channel, w_row, w_column;
    ptrdiff_t outputs, width; /* rows, and elements of each */
    ptrdiff_t y_step, y_channel;
    ptrdiff_t to_next;  /* elements to planes that are fetched meanwhile, or 0; of two channels with 3 adjacent taps */
    const void *zeros;  /* a row of them */
    const void **table; /* room for FC_DIRECT_BLOCK * (taps + 1) pointers a plane */
    int relu;
} fc_direct_rows;

typedef void (*fc_direct_rows_kernel)(const fc_direct_rows *d, const void *const *x, const void *w, const void *bias,
                                      void *y);

/* Adds dw of one channel, or of two, over one plane x: sums[channel * sums_step + (t * taps + r) * lanes + lane] of tap
 * (r, t) of its one residue; and unless it is NULL, to bias[channel * sums_step + lane], the sum of dy, d's y. */
typedef void (*fc_direct_rows_gradient_kernel)(const fc_direct_rows *d, const void *x, const void *dy, void *sums,
                                               ptrdiff_t sums_step, void *bias);

/* So many planes of one channel each, of so many images; `rows` is of them all, their weights, or sums of dw, are
 * w_plane apart. */
typedef struct {
    fc_direct_rows rows;
    ptrdiff_t planes, x_plane, y_plane, w_plane;
    ptrdiff_t images, x_image, y_image;
} fc_direct_narrow;

typedef void (*fc_direct_narrow_kernel)(const fc_direct_narrow *n, const void *x, const void *w, const void *bias,
                                        void *y);
typedef void (*fc_direct_narrow_gradient_kernel)(const fc_direct_narrow *n, const void *x, const void *dy, void *sums,
                                                 void *bias);

/* direct_kernel.tmpl.h says what each does. */
typedef void (*fc_direct_kernel)(const fc_direct *d, const void *x, void *y);
typedef void (*fc_direct_gradient_kernel)(const fc_direct_gradient *d, const void *x, const void *dy,
                                          void *sums);

/* Winograd's algorithms, by their taps: F(4x4, 3x3); F(2x2, 3x3), whose error is that of direct sums; F(4x2, 5x5);
 * F(5x5, 2x2), for the residues of a stride; and along one axis F(5, 2), F(4, 3), F(4, 5), F(2, 7). */
typedef enum {
    FC_WINOGRAD_3X3,
    FC_WINOGRAD_3X3_ACCURATE,
    FC_WINOGRAD_5X5,
    FC_WINOGRAD_2X2,
    FC_WINOGRAD_1X2,
    FC_WINOGRAD_1X3,
    FC_WINOGRAD_1X5,
    FC_WINOGRAD_1X7,
    FC_WINOGRAD_SHAPES,
} fc_winograd_shape;

/* Rows of x, at most FC_DOT_ROWS, times rows of w, any number, of `depth` elements that lie side by side. A register
 * tile has all rows of x and dots_filters of w; its sums, a row of x after another, begin FC_DOT_SUMS elements after
 * those of the one before. Tile ahead_first and every ahead_every-th from it on fetch w to L2, `ahead` elements after
 * what they read. */
typedef struct {
    ptrdiff_t filters, depth;
    const void *x, *w;
    ptrdiff_t x_row, w_row; /* elements between rows */
    void *sums;
    int accumulate;
    ptrdiff_t ahead, ahead_first, ahead_every;
} fc_dots;

/* Adds to `sums` products of channels of dy, at most FC_DOT_ROWS, with what taps of x read, over `width` elements that
 * lie side by side of so many rows of so many images: of channel i and tap f,
 *   sum of y[i * y_channel + element] * x[tap[f] + element].
 * A register tile has all the channels and pixel_dots_taps; its sums stand as those of fc_dots. */
typedef struct {
    ptrdiff_t images, rows, width;
    ptrdiff_t x_image, x_row, y_image, y_row; /* elements between them */
    const void *x, *y;
    ptrdiff_t y_channel;
    ptrdiff_t taps;
    const ptrdiff_t *tap;
    void *sums;
    const void *next; /* channels that are read next: each tile fetches one of them */
} fc_pixel_dots;

/* Where they go: y[i * y_row + f * y_step] = bias[f] + sum, or without a bias. */
typedef struct {
    ptrdiff_t filters;
    const void *sums, *bias;
    void *y;
    ptrdiff_t y_row, y_step;
    int relu;
} fc_dot_outputs;

/* c[i][j] = from[i][j] + sum over t < depth of a[i * a_row + t * a_step] * b[t][j], j < width. from may be c, or NULL:
 * zeros. Register tiles are rows by some vectors; of these, fetched ahead as above. */
typedef struct {
    ptrdiff_t depth, width;
    const void *a, *b, *from;
    ptrdiff_t a_row, a_step, b_row, from_row, c_row;
    void *c;
    ptrdiff_t ahead, ahead_first, ahead_every;
} fc_outer;

/* Tiles of a row, `tile_step` apart in the source; their rows and positions; the target's tiles and points. */
typedef struct {
    ptrdiff_t tiles, tile_step, row_step, position_step;
    ptrdiff_t target_step, point_step;
} fc_winograd_tiles;

/* Tiles of a row, their points in the source; the target's tiles, rows and positions, and what of a tile, of the
 * last one, and of a vector is written. */
typedef struct {
    ptrdiff_t tiles, tile_step, point_step;
    ptrdiff_t target_step, row_step, position_step;
    ptrdiff_t rows, columns, last_columns, width;
    int relu;
} fc_winograd_outputs;

/* c[i][j] (+)= sum over d < depth of a[i][d] * b[d][j], i < rows: rows of a are FC_WINOGRAD_CHAIN apart, those of b
 * and c, whole vectors, follow each other. */
typedef struct {
    ptrdiff_t rows, depth;
    const void *a, *b;
    void *c;
    int accumulate;
    const void *next; /* `fetched` elements that the next product reads, brought to L2 meanwhile */
    ptrdiff_t fetched;
} fc_winograd_product;

/* The same of rows of a that begin channel[i] bytes from a, their elements a vector apart; rows of c follow each other
 * within a register tile. */
typedef struct {
    ptrdiff_t rows, depth;
    const void *a, *b;
    const ptrdiff_t *channel;
    void *c;
    ptrdiff_t c_tile; /* elements between register tiles */
    int accumulate;
    const void *next; /* as above */
    ptrdiff_t fetched;
} fc_winograd_reduction;

/* winograd_kernel.tmpl.h says what each does. */
typedef struct {
    void (*input)(const fc_winograd_tiles *tiles, const void *source, void *target);
    int (*output)(const fc_winograd_outputs *tiles, const void *source, const void *bias, void *target);
    void (*weights)(const void *w, ptrdiff_t tap_step, void *target, ptrdiff_t point_step);
    void (*output_gradient)(const fc_winograd_tiles *tiles, const void *source, void *target);
    int (*weights_gradient)(const void *source, ptrdiff_t point_step, void *dw);
} fc_winograd_kernels;

/* The windows of a row: tap t of output i is tap[t][i], in column column[i] + t * step; first_column is
 * that of the first tap on the data. Columns are int32_t for float, int64_t for double. */
typedef struct {
    ptrdiff_t outputs, taps;
    const void *const *tap;
    const void *first_column, *column;
    ptrdiff_t step;
} fc_pool_row;

/* A row of x whose windows are pooled: maxima, and their columns; base is the row's place in the plane. */
typedef struct {
    const void *values, *columns;
    ptrdiff_t base;
} fc_pooled_row;

/* Whole windows: output o sees the positions first[o] + t * step, t < taps[o], of each row; sums are of any
 * number of rows and taps. */
typedef struct {
    ptrdiff_t channels, outputs, rows, step;
    const void *const *row;
    const ptrdiff_t *base; /* place of each row in the plane */
    const ptrdiff_t *first, *taps;
    ptrdiff_t divisor_step; /* doubles between the divisors of outputs, of which the first is repeated DLANES times */
} fc_pool_windows;

/* Lines of y, of the windows of one plane of contiguous rows. Windows are `stride` columns apart, 1 or 2, and have at
 * least as many taps, at most FC_POOL_LINE_TAPS; row[r], ascending: place of row r of the first line's windows,
 * row_step before that of the next line's. x_before elements may be read before the plane and x_room from it on,
 * y_room be written from y, and indices, on. */
typedef struct {
    ptrdiff_t lines, outputs;
    ptrdiff_t width, pad, taps, stride; /* of rows of x; pad: columns before the first */
    ptrdiff_t rows;                     /* 1 to FC_POOL_LINE_ROWS */
    const ptrdiff_t *row;
    ptrdiff_t row_step, x_before, x_room, y_room;
} fc_pool_lines;

/* Of scatter: element [i][c] of `count` x `channels` goes to target[index * stride + c]. */
typedef struct {
    ptrdiff_t count, channels, stride; /* stride: between positions, of all three arrays */
    ptrdiff_t plane;                   /* indices are less */
    int add;                           /* or replace */
} fc_scattered;

/* pool_kernel.tmpl.h says what each does. */
typedef struct {
    int column_size; /* bytes */
    void (*max_row)(const fc_pool_row *row, void *values, void *columns);
    void (*max_channels)(ptrdiff_t channels, ptrdiff_t taps, const void *source, ptrdiff_t step,
                         ptrdiff_t column, ptrdiff_t column_step, void *values, void *columns);
    ptrdiff_t (*max_run)(ptrdiff_t taps, const void *source, ptrdiff_t step, void *value);
    void (*max_rows)(ptrdiff_t count, ptrdiff_t rows, const fc_pooled_row *row, void *y,
                     int64_t *indices);
    void (*max_windows)(const fc_pool_windows *windows, void *y, int64_t *indices);
    void (*sum_windows)(const fc_pool_windows *windows, const double *divisors, void *y);
    /* How lines are cut into vectors, from the columns of windows alone: in `cut`, of cut_size bytes. NULL, as the next
     * two, where the instruction set has no vectors of every other element. */
    void (*cut_line)(const fc_pool_lines *lines, int max, void *cut);
    size_t cut_size;
    void (*max_lines)(const fc_pool_lines *lines, const void *cut, const void *plane, void *y, int64_t *indices);
    void (*sum_lines)(const fc_pool_lines *lines, const void *cut, const void *plane, const double *divisors, void *y);
    void (*sum_row)(const fc_pool_row *row, double *sums);
    void (*sum_channels)(ptrdiff_t channels, ptrdiff_t taps, const void *source, ptrdiff_t step,
                         double *sums);
    double (*sum_run)(ptrdiff_t taps, const void *source);
    void (*sum_rows)(ptrdiff_t count, ptrdiff_t rows, const double *const *row,
                     const double *divisors, void *y);
    void (*shares)(ptrdiff_t count, const void *dy, const double *divisors, double *shares);
    void (*total_rows)(ptrdiff_t count, ptrdiff_t rows, const double *const *row, double *totals);
    void (*spread)(ptrdiff_t count, ptrdiff_t taps, const double *totals, ptrdiff_t step, void *dx);
    void (*interleave)(ptrdiff_t count, ptrdiff_t residues, const void *source, ptrdiff_t pitch,
                       void *target);
    int (*scatter)(const fc_scattered *shape, const void *source, const int64_t *indices,
                   void *target);
    void (*widen)(fc_element element, ptrdiff_t count, const void *source, void *target);
    void (*narrow)(fc_element element, ptrdiff_t count, const void *source, void *target);
} fc_pool_kernels;

/* norm_kernel.tmpl.h says what each does. */
typedef struct {
    void (*moments_run)(ptrdiff_t count, const void *x, double *mean, double *squares);
    void (*moments_rows)(ptrdiff_t rows, ptrdiff_t channels, const void *x, ptrdiff_t stride,
                         double *mean, double *squares);
    void (*products_run)(ptrdiff_t count, const void *dy, const void *x, double mean, double *sum,
                         double *product);
    void (*products_rows)(ptrdiff_t rows, ptrdiff_t channels, const void *dy, const void *x,
                          ptrdiff_t stride, const double *mean, double *sum, double *product);
    void (*apply_run)(ptrdiff_t count, const void *x, double mean, double a, double b,
                      const void *dy, double d, void *y);
    void (*apply_rows)(ptrdiff_t rows, ptrdiff_t channels, const void *x, ptrdiff_t stride,
                       const double *mean, const double *a, const double *b, const void *dy,
                       const double *d, void *y);
} fc_norm_kernels;

/* activation_kernel.tmpl.h says what each does. */
typedef struct {
    void (*relu)(ptrdiff_t count, const void *x, const void *dy, void *y);
    void (*sigmoid)(ptrdiff_t count, const void *x, void *y);
    void (*sigmoid_gradient)(ptrdiff_t count, const void *y, const void *dy, void *dx);
    double (*softmax)(ptrdiff_t classes, const void *scores, ptrdiff_t label, double scale, void *gradient);
} fc_activation_kernels;

typedef struct {
    int lanes; /* elements of a vector */
    int rows;  /* the register tile that keeps the multipliers busiest: rows x vecs * lanes */
    int vecs;
    /* [rows - 1][vecs - 1]; NULL where the accumulators would not fit the registers. */
    fc_gemm_kernel gemm[FC_MAX_ROWS][FC_MAX_VECS];
    fc_store_kernel store;
    int stores_apart; /* by vectors also where y_step is 2, not element by element */
    fc_sum_kernel sum;
    fc_add_kernel add;
    fc_finite_kernel finite;
    fc_transpose_kernel transpose;
    fc_copy_kernel copy;
    fc_pad_kernel pad;
    fc_direct_kernel direct_pixels, direct_channels;
    fc_direct_gradient_kernel direct_gradient;
    /* By the rows of x, less one; by those of c, of which outer_rows are most. */
    void (*dots[FC_DOT_ROWS])(const fc_dots *p);
    void (*store_dots[FC_DOT_ROWS])(const fc_dot_outputs *p);
    int dots_filters[FC_DOT_ROWS];
    void (*pixel_dots[FC_DOT_ROWS])(const fc_pixel_dots *p); /* by the channels, less one; or NULL, as below */
    int pixel_dots_taps;
    void (*outer[FC_MAX_ROWS])(const fc_outer *p);
    int outer_rows;
    /* Of one channel, and of two with one residue and column_stride 1; NULL where loads are not masked. */
    fc_direct_rows_kernel direct_rows[2];
    fc_direct_rows_gradient_kernel direct_rows_gradient[2];
    fc_direct_narrow_kernel direct_narrow; /* and these */
    fc_direct_narrow_gradient_kernel direct_narrow_gradient;
    /* By the vectors across, less one; rows of a register tile. */
    int winograd_rows[FC_MAX_VECS];
    void (*winograd_product[3])(const fc_winograd_product *product);
    void (*winograd_reduction[FC_MAX_VECS])(const fc_winograd_reduction *reduction);
    fc_winograd_kernels winograd[FC_WINOGRAD_SHAPES];
    fc_pool_kernels pool;
    fc_norm_kernels norm;
    fc_activation_kernels activation;
} fc_kernels;

/* The kernels of the instruction set at `isa` in fc_isa_name's order. */
const fc_kernels *fc_find_kernels(int isa, fc_dtype dtype);

#endif
