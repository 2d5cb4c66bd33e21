/* Every measured constant of the engine: how blocks are cut and paths are chosen.
 *
 * Each says its unit, what was measured, and how to measure it again. `compare` stands for
 * `python bench/compare.py --peers numpy --threads 1`, `choose` for `python bench/choose.py --threads 1`, each with the
 * options that follow; of several algorithms each is run in turn. NAMES are layers of bench/layers.csv of the kind that
 * is described. Old and new values are built and run a few times in turn; the peer shows how the machine drifts. Ratios
 * are of the time with the value that stands here. Measured on Zen 4 (1 MiB L2 a core, 32 KiB L1) unless it says
 * otherwise. What follows from a constant is computed where it is used. */
#ifndef FC_TUNING_H
#define FC_TUNING_H

#include <stddef.h>

#include "tuning/direct.h"
#include "tuning/gemm.h"
#include "tuning/winograd.h"

/* ---- Threads, correlations: platform/, conv/correlations.c ---- */

/* Rounds of waiting before a thread sleeps: about 50 us, the time a short call takes.
 * bench/compare.py --layers NAMES --threads 1,2, of layers that take 20 to 200 us. */
enum { FC_THREADS_SPINS = 2000 };

/* Workers that are kept off their caller's processor. With more a collision is rarer than the calls that prevent it are
 * long. A call of rn50_l1_3x3 every 10 ms, on a virtual machine's two processors. */
enum { FC_THREADS_MAX_MOVED = 8 };

/* Seconds between two questions whether to stop; nanoseconds that a caller sleeps in between. They are what
 * somebody notices who presses Ctrl-C, not a measurement. */
static const double FC_THREADS_QUESTION_SECONDS = 0.05;
enum { FC_THREADS_NAP_NANOSECONDS = 20000000 };

/* Multiply-adds of a convolution that are worth a thread more: about the 5 us that waking one takes.
 * bench/compare.py --layers NAMES --threads 1,2, of layers that take 5 to 20 us. */
static const double FC_CONV_THREAD_WORK = 512 << 10;

/* A loop over units of work asks at every unit that moves so many bytes, else at one in so many: about 10 us. */
enum { FC_THREADS_QUESTION_BYTES = 64 << 10, FC_THREADS_QUESTION_UNITS = 32 };

/* Scratch that is kept between calls: bytes and blocks. Smaller requests, in bytes, go to malloc, which keeps such
 * sizes itself. Fresh pages cost more than small convolutions.
 * bench/compare.py --layers NAMES, of layers that take less than 100 us. */
static const size_t FC_MEMORY_KEPT_BYTES = 64 << 20, FC_MEMORY_SMALL = 4 << 10;
enum { FC_MEMORY_KEPT_BLOCKS = 64 };

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

/* Layers, bytes that are worth a thread more, and elements of a softmax, which is longer over each: about 10 us.
 * bench/compare.py --ops norm --threads 1,2. */
static const double FC_LAYER_THREAD_BYTES = 128 << 10, FC_SOFTMAX_THREAD_ELEMENTS = 16 << 10;
/* Layers, elements of a block of a unit of work: 1024 took 1.04 of a ReLU, 16384 0.99. Bytes of a chunk that stays in
 * L1 (the same command). Statistics and sums are of chunks: results depend on their sizes. */
enum { FC_LAYER_BLOCK = 4096 };
static const ptrdiff_t FC_LAYER_CHUNK_BYTES = 16 << 10;

/* Affine: sums of chunks of rows that are added up at last. They do not depend on the threads. */
enum { FC_AFFINE_PARTIALS = 16 };

/* Batch norm: channels of a chunk whose rows are cut. 16 took 1.26 to 2.3 times as long with channels last, 256 0.99 to
 * 1.14. bench/compare.py --ops norm --layout NHWC --threads 1. */
enum { FC_NORM_CHANNELS = 64 };
/* Batch norm, chunks' statistics, with more of which they would pass 16 MiB beside those of each channel. */
static const ptrdiff_t FC_NORM_MAX_STATISTICS = 1 << 20;
/* Batch norm, elements: shorter runs lose to rows. The statistics of (2000, 512, 2) took twice PyTorch's time.
 * bench/compare.py --ops norm, of such arrays. */
static const ptrdiff_t FC_NORM_SHORT_RUN = 64;
/* Batch norm, bytes of x and dy of a channel that are still in L2 when its dx is computed.
 * bench/compare.py --ops norm --problems norm_56,norm_14. */
static const double FC_NORM_CHANNEL_BYTES = 1 << 20;

/* Batch norm, bytes of a channel's run in an image from which on the gradient of a ReLU is taken of a chunk at a time.
 * Shorter runs leave the order of memory too often: 32x256x14x14 took 1.4 times as long, 8x512x28x28 1.0 to 1.06 times;
 * of 8x256x56x56 0.85. batch_norm_backward with y, of such shapes, against relu_backward and then batch_norm_backward.
 * */
enum { FC_NORM_FUSED_BYTES = 4096 };

#endif
