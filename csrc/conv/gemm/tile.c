/* Register tiles: which are compiled, and what they take. */
#include "../../arithmetic.h"
#include "shared.h"

ptrdiff_t fc_highest_tile(const fc_kernels *k, ptrdiff_t tile_vectors) {
    ptrdiff_t tile_rows = FC_MAX_TILE_ROWS;
    while (!k->gemm[tile_rows - 1][tile_vectors - 1]) tile_rows--;
    return tile_rows;
}

ptrdiff_t fc_widest_tile(const fc_kernels *k, ptrdiff_t tile_rows) {
    ptrdiff_t tile_vectors = tile_rows == k->tile_rows ? k->tile_vectors : FC_MAX_TILE_VECTORS;
    while (!k->gemm[tile_rows - 1][tile_vectors - 1]) tile_vectors--;
    return tile_vectors;
}

double fc_channel_cycles(const fc_kernels *k, ptrdiff_t channels, ptrdiff_t tile_vectors) {
    const ptrdiff_t vectors = quotient_up(channels, k->lanes), rest = vectors % tile_vectors;
    const ptrdiff_t tile_rows = fc_highest_tile(k, tile_vectors);
    double cycles = (double)(vectors / tile_vectors) * fc_tile_cycles(tile_rows, tile_vectors, 1);
    if (rest) cycles += fc_tile_cycles(tile_rows, rest, 1);
    return cycles / (double)tile_rows;
}

ptrdiff_t fc_channel_tile_vectors(const fc_kernels *k, ptrdiff_t channels) {
    ptrdiff_t best = 0;
    const ptrdiff_t widest = min(FC_MAX_TILE_VECTORS, quotient_up(channels, k->lanes));
    for (ptrdiff_t tile_vectors = widest; tile_vectors > 0; tile_vectors--) {
        if (fc_highest_tile(k, tile_vectors) < 3) continue; /* loads would outnumber the multiply-adds */
        if (!best || fc_channel_cycles(k, channels, tile_vectors) < fc_channel_cycles(k, channels, best))
            best = tile_vectors;
    }
    return best;
}
