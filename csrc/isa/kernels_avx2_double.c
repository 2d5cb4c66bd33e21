/* AVX2, double: vectors of 4. */
#include "../compiler.h"

#if FC_HAS_X86

#include "transpose_x86.h"
#include "vec_avx2.h"

#define FC_DTYPE double
#define VEC __m256d
#define LANES 4
#define VLOAD _mm256_loadu_pd
#define VSTORE _mm256_storeu_pd
#define VSET1 _mm256_set1_pd
#define VADD _mm256_add_pd
#define VFMA _mm256_fmadd_pd
#define VMAX _mm256_max_pd
#define TRANSPOSE transpose_4x2_double
#define TRANSPOSE_FEW transpose_2x2_double
#define VMASK __m256d
#define VTAKES(v, best) \
    _mm256_and_pd(_mm256_cmp_pd(best, best, _CMP_ORD_Q), _mm256_cmp_pd(v, best, _CMP_NLE_UQ))
#define VSELECT(mask, a, b) _mm256_blendv_pd(b, a, mask)
#define VCOLUMN __m256i
#define VCOLUMN_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define VCOLUMN_STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define VCOLUMN_SET1 _mm256_set1_epi64x
#define VCOLUMN_ADD _mm256_add_epi64
#define VCOLUMN_SELECT(mask, a, b) _mm256_blendv_epi8(b, a, _mm256_castpd_si256(mask))
#define VEVEN DEVEN
#define VODD DODD
#define VZIP_LOW(a, b) _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x20)
#define VZIP_HIGH(a, b) _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x31)

#define VSUBSET avx2_lanes
#define VMASKED_IS_SLOW 1
#define VNOT_ALL(subset) ((avx2_lanes){(subset).lanes, 0})
#define VLANES(column, columns) lanes_within(column, columns)
#define VLOAD_LANES(p, lanes) load_lanes(p, lanes)
#define VSTORE_LANES(p, lanes, v) store_first_lanes(p, lanes, v)
#define VNEXT(a, b, n)                                                                                         \
    _mm256_castsi256_pd((n) == 1 ? _mm256_alignr_epi8(_mm256_castpd_si256(_mm256_permute2f128_pd(a, b, 0x21)), \
                                                      _mm256_castpd_si256(a), 8)                               \
                                 : _mm256_castpd_si256(_mm256_permute2f128_pd(a, b, 0x21)))

FC_INLINE FC_TARGET avx2_lanes lanes_within(ptrdiff_t column, ptrdiff_t columns) {
    const __m256i at = _mm256_add_epi64(_mm256_set1_epi64x(column), _mm256_set_epi64x(3, 2, 1, 0));
    const __m256i inside = _mm256_cmpgt_epi64(_mm256_set1_epi64x(columns), at);
    return (avx2_lanes){_mm256_and_si256(_mm256_cmpgt_epi64(at, _mm256_set1_epi64x(-1)), inside),
                        column >= 0 && column + LANES <= columns};
}

FC_INLINE FC_TARGET __m256d load_lanes(const double *p, avx2_lanes subset) {
    return subset.are_all ? _mm256_loadu_pd(p) : _mm256_maskload_pd(p, subset.lanes);
}

/* A masked store takes a dozen cycles on AMD's processors. */
FC_INLINE FC_TARGET void store_first_lanes(double *p, avx2_lanes subset, __m256d v) {
    const int lanes = _mm256_movemask_pd(_mm256_castsi256_pd(subset.lanes));
    if (subset.are_all || lanes == 0xf) {
        _mm256_storeu_pd(p, v);
        return;
    }
    if (lanes & 2) {
        _mm_storeu_pd(p, _mm256_castpd256_pd128(v));
        if (lanes & 4) _mm_store_sd(p + 2, _mm256_extractf128_pd(v, 1));
    } else if (lanes & 1) {
        _mm_store_sd(p, _mm256_castpd256_pd128(v));
    }
}

#include "kernels.tmpl.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
