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

/* ---- Columns, layers: columns/, layers/ ---- */

#endif
