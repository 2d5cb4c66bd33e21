/* Every measured constant of the engine: how blocks are cut and paths are chosen.
 *
 * Each says its unit, what was measured, and how to measure it again. `compare` stands for
 * `python bench/compare.py --peers numpy --layers NAMES --algorithm PATH`, `choose` for
 * `python bench/choose.py --layers NAMES`; ratios are of the time with the value that stands here. Measured on Zen 4
 * (1 MiB L2 a core, 32 KiB L1) unless it says otherwise. What follows from a constant is computed where it is used. */
#ifndef FC_TUNING_H
#define FC_TUNING_H

#include <stddef.h>

/* ---- Threads, correlations: platform/, conv/correlations.c ---- */

/* ---- Direct sums: conv/direct/ ---- */

/* ---- Winograd: conv/winograd/ ---- */

/* ---- Gathered GEMMs, y and dx: conv/gemm/ ---- */

/* ---- Gathered GEMMs, dw: conv/gemm/ ---- */

/* ---- Fully connected: conv/fully_connected.c ---- */

/* ---- Pools: pool/ ---- */

/* Bytes that a thread takes at most, beyond which a path refuses: a bound of the workspace, not a measurement. */
static const size_t FC_POOL_WORKSPACE = 16 << 20;

/* Bytes that are read and written, worth a thread more: about 10 us of copying.
 * bench/compare.py --ops pool --threads 1,2. */
static const double FC_POOL_THREAD_BYTES = 128 << 10;

/* pool/rows, bytes: pooled lines that are kept should stay in L2 beside what is read and written. Outputs and elements
 * that a block has even so. bench/compare.py --ops pool --problems resnet_pool,spp_pool. */
static const ptrdiff_t FC_POOL_KEPT_BYTES = 96 << 10;
enum { FC_POOL_MIN_OUTPUTS = 4, FC_POOL_MIN_ELEMENTS = 64 };

/* pool/rows, in taps of a vector: what a line that is kept takes beside its taps; what a position takes that is copied,
 * and a copy of a line beside its positions; what one window takes that is pooled alone.
 * bench/compare.py --ops pool --layout NHWC, of pools of 2 to 31 channels. */
static const double FC_POOL_KEPT_LINE = 2, FC_POOL_COPIED = 1.5, FC_POOL_COPY = 20;
enum { FC_POOL_ONE_WINDOW = 8 };

/* pool/lines, bytes of x between two questions whether to stop. */
static const ptrdiff_t FC_POOL_RUN_BYTES = 512 << 10;

/* pool/lines, outputs: pool/rows cuts longer lines into blocks, which threads share. */
enum { FC_POOL_LINE_OUTPUTS = 1 << 13 };

/* Cycles of pool/lines and of pool/rows: of a tap and an element straight from x, and where lines are kept, for a
 * maximum per byte; of a line beside its taps. Fitted to pools of 2 to 32 taps, strides 1 and 2, lines of 12 to 56
 * outputs, AVX2 and AVX-512, float32 and float64. To fit them again let doubt() of pool/lines return NULL, then a
 * reason, and run bench/compare.py --ops pool of such pools. */
static const struct {
    double max_tap, max_kept; /* a byte */
    double sum_tap, sum_kept;
    double line;
} FC_POOL_CYCLES = {0.11, 0.081, 0.31, 0.28, 170};

/* Gradient by windows, positions of a line, whose windows are kept in tables: a bound of the workspace. */
enum { FC_POOL_WINDOW_POSITIONS = 1 << 16 };

/* Scatter: outputs between two questions whether to stop. Channels of a chunk where there are fewer images than
 * threads: at least a cache line of float32, so that threads do not write to the same ones. */
enum { FC_SCATTER_OUTPUTS = 64 << 10, FC_SCATTER_MIN_CHANNELS = 16, FC_SCATTER_CHANNELS = 64 };

/* ---- Columns, layers: columns/, layers/ ---- */

/* col2im, bytes: a band of lines of x should stay in L1 or L2 while all taps are added to it.
 * bench/compare.py --ops columns. */
static const ptrdiff_t FC_COLUMNS_BAND_BYTES = 64 << 10;
/* Bytes that a thread takes at most, beyond which col2im refuses: a bound of the workspace, not a measurement. */
static const ptrdiff_t FC_COLUMNS_WORKSPACE = 16 << 20;
/* Bytes of columns that are worth a thread more: about 10 us of copying.
 * bench/compare.py --ops columns --threads 1,2. */
static const double FC_COLUMNS_THREAD_BYTES = 256 << 10;

#endif
