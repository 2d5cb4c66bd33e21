#include "../compiler.h"

#if FC_HAS_X86

#include "../kernels/kernels.h"
#include "isa_list.h"
#include "transpose_x86.h"
#include "vec_avx512.h"

#define FC_DTYPE float
#define TRANSPOSE transpose_16x4_float
#define TRANSPOSE_FEW transpose_4x4_float
#define LANES 16
#define VEC __m512
#define VZERO _mm512_setzero_ps
#define VLOAD _mm512_loadu_ps
#define VSTORE _mm512_storeu_ps
#define VSET1 _mm512_set1_ps
#define VFMA _mm512_fmadd_ps
#define VADD _mm512_add_ps
#define VMAX _mm512_max_ps
#define VLOAD_FIRST(p, n) _mm512_maskz_loadu_ps((__mmask16)FC_FIRST(n), p)
#define VLANES(column, columns)                                                                                \
    _mm512_cmplt_epu32_mask(                                                                                   \
        _mm512_add_epi32(_mm512_set1_epi32((int)(column)),                                                     \
                         _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)),              \
        _mm512_set1_epi32((int)(columns)))
#define VLOAD_LANES(p, lanes) _mm512_maskz_loadu_ps(lanes, p)
#define VSTORE_LANES(p, lanes, v) _mm512_mask_storeu_ps(p, lanes, v)
#define VPICK(lanes, index, v) _mm512_maskz_permutexvar_ps(lanes, index, v)
#define VNEXT(a, b, n) \
    _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(b), _mm512_castps_si512(a), n))
#define VSTORE_FIRST(p, n, v) _mm512_mask_storeu_ps(p, (__mmask16)FC_FIRST(n), v)
#define VLOAD_EVERY_OTHER(p, n) _mm512_maskz_loadu_ps((__mmask16)FC_EVERY_OTHER(n), p)
#define VSTORE_EVERY_OTHER(p, n, v) _mm512_mask_storeu_ps(p, (__mmask16)FC_EVERY_OTHER(n), v)
#define VEVEN(a, b) \
    _mm512_permutex2var_ps(a, _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0), b)
#define VODD(a, b) \
    _mm512_permutex2var_ps(a, _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1), b)
#define VZIP_LOW(a, b) \
    _mm512_permutex2var_ps(a, _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0), b)
#define VZIP_HIGH(a, b) \
    _mm512_permutex2var_ps(a, _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8), b)
#define VMASK __mmask16
#define VTAKES(v, best) \
    _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(best, best, _CMP_ORD_Q), v, best, _CMP_NLE_UQ)
#define VSELECT(mask, a, b) _mm512_mask_blend_ps(mask, b, a)
#define COLUMN int32_t
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
#include "kernels.tmpl.h"
#include "end_type.h"

#define FC_DTYPE double
#define TRANSPOSE transpose_8x2_double
#define TRANSPOSE_FEW transpose_2x2_double
#define LANES 8
#define VEC __m512d
#define VZERO _mm512_setzero_pd
#define VLOAD _mm512_loadu_pd
#define VSTORE _mm512_storeu_pd
#define VSET1 _mm512_set1_pd
#define VFMA _mm512_fmadd_pd
#define VADD _mm512_add_pd
#define VMAX _mm512_max_pd
#define VLOAD_FIRST(p, n) _mm512_maskz_loadu_pd((__mmask8)FC_FIRST(n), p)
#define VLANES(column, columns)                                                                                \
    _mm256_cmplt_epu32_mask(                                                                                   \
        _mm256_add_epi32(_mm256_set1_epi32((int)(column)), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0)),          \
        _mm256_set1_epi32((int)(columns)))
#define VLOAD_LANES(p, lanes) _mm512_maskz_loadu_pd(lanes, p)
#define VSTORE_LANES(p, lanes, v) _mm512_mask_storeu_pd(p, lanes, v)
#define VPICK(lanes, index, v) _mm512_maskz_permutexvar_pd(lanes, index, v)
#define VNEXT(a, b, n) \
    _mm512_castsi512_pd(_mm512_alignr_epi64(_mm512_castpd_si512(b), _mm512_castpd_si512(a), n))
#define VSTORE_FIRST(p, n, v) _mm512_mask_storeu_pd(p, (__mmask8)FC_FIRST(n), v)
#define VLOAD_EVERY_OTHER(p, n) _mm512_maskz_loadu_pd((__mmask8)FC_EVERY_OTHER(n), p)
#define VSTORE_EVERY_OTHER(p, n, v) _mm512_mask_storeu_pd(p, (__mmask8)FC_EVERY_OTHER(n), v)
#define VEVEN DEVEN
#define VODD DODD
#define VZIP_LOW(a, b) _mm512_permutex2var_pd(a, _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), b)
#define VZIP_HIGH(a, b) _mm512_permutex2var_pd(a, _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4), b)
#define VMASK __mmask8
#define VTAKES(v, best) \
    _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(best, best, _CMP_ORD_Q), v, best, _CMP_NLE_UQ)
#define VSELECT(mask, a, b) _mm512_mask_blend_pd(mask, b, a)
#define COLUMN int64_t
#define VCOLUMN __m512i
#define VCOLUMN_LOAD(p) _mm512_loadu_si512(p)
#define VCOLUMN_STORE(p, v) _mm512_storeu_si512(p, v)
#define VCOLUMN_SET1 _mm512_set1_epi64
#define VCOLUMN_ADD _mm512_add_epi64
#define VCOLUMN_SELECT(mask, a, b) _mm512_mask_blend_epi64(mask, b, a)
#define VCOLUMN_STORE_WIDE(p, v) _mm512_storeu_si512(p, v)
#define DWIDEN DLOAD
#define DNARROW DSTORE
#include "kernels.tmpl.h"
#include "end_type.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
