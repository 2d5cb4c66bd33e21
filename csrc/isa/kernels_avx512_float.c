/* AVX-512, float: vectors of 16. */
#include "../compiler.h"

#if FC_HAS_X86

#include "transpose_x86.h"
#include "vec_avx512.h"

#define FC_DTYPE float
#define VEC __m512
#define LANES 16
#define VLOAD _mm512_loadu_ps
#define VSTORE _mm512_storeu_ps
#define VSET1 _mm512_set1_ps
#define VADD _mm512_add_ps
#define VFMA _mm512_fmadd_ps
#define VMAX _mm512_max_ps
#define TRANSPOSE transpose_16x4_float
#define TRANSPOSE_FEW transpose_4x4_float
#define VMASK __mmask16
#define VTAKES(v, best) \
    _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(best, best, _CMP_ORD_Q), v, best, _CMP_NLE_UQ)
#define VSELECT(mask, a, b) _mm512_mask_blend_ps(mask, b, a)
#define VCOLUMN __m512i
#define VCOLUMN_LOAD(p) _mm512_loadu_si512(p)
#define VCOLUMN_STORE(p, v) _mm512_storeu_si512(p, v)
#define VCOLUMN_SET1 _mm512_set1_epi32
#define VCOLUMN_ADD _mm512_add_epi32
#define VCOLUMN_SELECT(mask, a, b) _mm512_mask_blend_epi32(mask, b, a)
#define VCOLUMN_STORE_WIDE(p, v)                                                       \
    (_mm512_storeu_si512(p, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(v))),         \
     _mm512_storeu_si512((p) + 8, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(v, 1))))
#define DWIDEN(p) _mm512_cvtps_pd(_mm256_loadu_ps(p))
#define DNARROW(p, v) _mm256_storeu_ps(p, _mm512_cvtpd_ps(v))
#define VEVEN(a, b) \
    _mm512_permutex2var_ps(a, _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0), b)
#define VODD(a, b) \
    _mm512_permutex2var_ps(a, _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1), b)
#define VZIP_LOW(a, b) \
    _mm512_permutex2var_ps(a, _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0), b)
#define VZIP_HIGH(a, b) \
    _mm512_permutex2var_ps(a, _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8), b)
#define VLOAD_FIRST(p, n) _mm512_maskz_loadu_ps((__mmask16)FC_FIRST(n), p)
#define VSTORE_FIRST(p, n, v) _mm512_mask_storeu_ps(p, (__mmask16)FC_FIRST(n), v)
#define VLOAD_EVERY_OTHER(p, n) _mm512_maskz_loadu_ps((__mmask16)FC_EVERY_OTHER(n), p)
#define VSTORE_EVERY_OTHER(p, n, v) _mm512_mask_storeu_ps(p, (__mmask16)FC_EVERY_OTHER(n), v)
#define VSUBSET __mmask16
#define VMASKED_IS_SLOW 0
#define VNOT_ALL(subset) (subset)
#define VLANES(column, columns)                                                                                \
    _mm512_cmplt_epu32_mask(                                                                                   \
        _mm512_add_epi32(_mm512_set1_epi32((int)(column)),                                                     \
                         _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)),              \
        _mm512_set1_epi32((int)(columns)))
#define VNOT_NEGATIVE(index) _mm512_cmpge_epi32_mask(index, _mm512_setzero_si512())
#define VLOAD_LANES(p, lanes) _mm512_maskz_loadu_ps(lanes, p)
#define VSTORE_LANES(p, lanes, v) _mm512_mask_storeu_ps(p, lanes, v)
#define VNEXT(a, b, n) \
    _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(b), _mm512_castps_si512(a), n))
#define VPICK(lanes, index, v) _mm512_maskz_permutexvar_ps(lanes, index, v)

#include "kernels.tmpl.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
