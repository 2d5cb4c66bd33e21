/* AVX-512, double: vectors of 8. */
#include "../compiler.h"

#if FC_HAS_X86

#include "transpose_x86.h"
#include "vec_avx512.h"

#define FC_DTYPE double
#define VEC __m512d
#define LANES 8
#define VLOAD _mm512_loadu_pd
#define VSTORE _mm512_storeu_pd
#define VSET1 _mm512_set1_pd
#define VADD _mm512_add_pd
#define VFMA _mm512_fmadd_pd
#define VMAX _mm512_max_pd
#define TRANSPOSE transpose_8x2_double
#define TRANSPOSE_FEW transpose_2x2_double
#define VMASK __mmask8
#define VTAKES(v, best) \
    _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(best, best, _CMP_ORD_Q), v, best, _CMP_NLE_UQ)
#define VSELECT(mask, a, b) _mm512_mask_blend_pd(mask, b, a)
#define VCOLUMN __m512i
#define VCOLUMN_LOAD(p) _mm512_loadu_si512(p)
#define VCOLUMN_STORE(p, v) _mm512_storeu_si512(p, v)
#define VCOLUMN_SET1 _mm512_set1_epi64
#define VCOLUMN_ADD _mm512_add_epi64
#define VCOLUMN_SELECT(mask, a, b) _mm512_mask_blend_epi64(mask, b, a)
#define VEVEN DEVEN
#define VODD DODD
#define VZIP_LOW(a, b) _mm512_permutex2var_pd(a, _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), b)
#define VZIP_HIGH(a, b) _mm512_permutex2var_pd(a, _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4), b)
#define VLOAD_FIRST(p, n) _mm512_maskz_loadu_pd((__mmask8)FC_FIRST(n), p)
#define VSTORE_FIRST(p, n, v) _mm512_mask_storeu_pd(p, (__mmask8)FC_FIRST(n), v)
#define VLOAD_EVERY_OTHER(p, n) _mm512_maskz_loadu_pd((__mmask8)FC_EVERY_OTHER(n), p)
#define VSTORE_EVERY_OTHER(p, n, v) _mm512_mask_storeu_pd(p, (__mmask8)FC_EVERY_OTHER(n), v)
#define VSUBSET __mmask8
#define VMASKED_IS_SLOW 0
#define VNOT_ALL(subset) (subset)
#define VLANES(column, columns)                                                                                \
    _mm256_cmplt_epu32_mask(                                                                                   \
        _mm256_add_epi32(_mm256_set1_epi32((int)(column)), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0)),          \
        _mm256_set1_epi32((int)(columns)))
#define VNOT_NEGATIVE(index) _mm512_cmpge_epi64_mask(index, _mm512_setzero_si512())
#define VLOAD_LANES(p, lanes) _mm512_maskz_loadu_pd(lanes, p)
#define VSTORE_LANES(p, lanes, v) _mm512_mask_storeu_pd(p, lanes, v)
#define VNEXT(a, b, n) \
    _mm512_castsi512_pd(_mm512_alignr_epi64(_mm512_castpd_si512(b), _mm512_castpd_si512(a), n))
#define VPICK(lanes, index, v) _mm512_maskz_permutexvar_pd(lanes, index, v)

#include "kernels.tmpl.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
