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

#include "kernels.tmpl.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
