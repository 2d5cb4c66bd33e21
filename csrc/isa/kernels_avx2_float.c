/* AVX2, float: vectors of 8. */
#include "../compiler.h"

#if FC_HAS_X86

#include "transpose_x86.h"
#include "vec_avx2.h"

#define FC_DTYPE float
#define VEC __m256
#define LANES 8
#define VLOAD _mm256_loadu_ps
#define VSTORE _mm256_storeu_ps
#define VSET1 _mm256_set1_ps
#define VADD _mm256_add_ps
#define VFMA _mm256_fmadd_ps
#define VMAX _mm256_max_ps
#define TRANSPOSE transpose_8x4_float
#define TRANSPOSE_FEW transpose_4x4_float
#define VMASK __m256
#define VTAKES(v, best) \
    _mm256_and_ps(_mm256_cmp_ps(best, best, _CMP_ORD_Q), _mm256_cmp_ps(v, best, _CMP_NLE_UQ))
#define VSELECT(mask, a, b) _mm256_blendv_ps(b, a, mask)
#define VCOLUMN __m256i
#define VCOLUMN_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define VCOLUMN_STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define VCOLUMN_SET1 _mm256_set1_epi32
#define VCOLUMN_ADD _mm256_add_epi32
#define VCOLUMN_SELECT(mask, a, b) _mm256_blendv_epi8(b, a, _mm256_castps_si256(mask))
#define VCOLUMN_STORE_WIDE(p, v)                                                  \
    (VCOLUMN_STORE(p, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(v))),          \
     VCOLUMN_STORE((p) + 4, _mm256_cvtepi32_epi64(_mm256_extracti128_si256(v, 1))))
#define DWIDEN(p) _mm256_cvtps_pd(_mm_loadu_ps(p))
#define DNARROW(p, v) _mm_storeu_ps(p, _mm256_cvtpd_ps(v))
#define VIN_ORDER(v) _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8))
#define VEVEN(a, b) VIN_ORDER(_mm256_shuffle_ps(a, b, 0x88))
#define VODD(a, b) VIN_ORDER(_mm256_shuffle_ps(a, b, 0xdd))
#define VZIP_LOW(a, b) _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20)
#define VZIP_HIGH(a, b) _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31)

#define VSUBSET avx2_lanes
#define VMASKED_IS_SLOW 1
#define VNOT_ALL(subset) ((avx2_lanes){(subset).lanes, 0})
#define VLANES(column, columns) lanes_within(column, columns)
#define VLOAD_LANES(p, lanes) load_lanes(p, lanes)
#define VSTORE_LANES(p, lanes, v) store_first_lanes(p, lanes, v)
#define VNEXT(a, b, n)                                                                              \
    _mm256_castsi256_ps(_mm256_alignr_epi8(_mm256_castps_si256(_mm256_permute2f128_ps(a, b, 0x21)), \
                                           _mm256_castps_si256(a), 4 * (n)))

FC_INLINE FC_TARGET avx2_lanes lanes_within(ptrdiff_t column, ptrdiff_t columns) {
    const __m256i first = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    const __m256i at = _mm256_add_epi32(_mm256_set1_epi32((int)column), first);
    const __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)columns), at);
    return (avx2_lanes){_mm256_and_si256(_mm256_cmpgt_epi32(at, _mm256_set1_epi32(-1)), inside),
                        column >= 0 && column + LANES <= columns};
}

FC_INLINE FC_TARGET __m256 load_lanes(const float *p, avx2_lanes subset) {
    return subset.are_all ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, subset.lanes);
}

/* A masked store takes a dozen cycles on AMD's processors. */
FC_INLINE FC_TARGET void store_first_lanes(float *p, avx2_lanes subset, __m256 v) {
    if (subset.are_all) {
        _mm256_storeu_ps(p, v);
        return;
    }
    int lanes = _mm256_movemask_ps(_mm256_castsi256_ps(subset.lanes));
    __m128 rest = _mm256_castps256_ps128(v);
    if (lanes == 0xff) {
        _mm256_storeu_ps(p, v);
        return;
    }
    if (lanes & 8) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps(v, 1);
        p += 4;
        lanes >>= 4;
    }
    if (lanes & 2) {
        _mm_storel_pi((__m64 *)p, rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
        lanes >>= 2;
    }
    if (lanes & 1) _mm_store_ss(p, rest);
}

#include "kernels.tmpl.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
