/* AVX2 and FMA: 16 registers of 8 floats or 4 doubles. */
#include <immintrin.h>

#define FC_ISA avx2
#define FC_TARGET FC_TARGET_ATTRIBUTE("avx2,fma")
#define FC_REGISTERS 16

/* A choice of lanes: all bits of those in it; and whether they are known to be all, whose loads and stores are not
 * masked: planes from memory took twice as long by masked loads, perhaps because no prefetcher follows these. */
typedef struct {
    __m256i lanes;
    int are_all;
} avx2_lanes;

#define DLANES 4
#define DVEC __m256d
#define DLOAD _mm256_loadu_pd
#define DSTORE _mm256_storeu_pd
#define DSET1 _mm256_set1_pd
#define DADD _mm256_add_pd
#define DSUB _mm256_sub_pd
#define DMUL _mm256_mul_pd
#define DDIV _mm256_div_pd
#define DFMA _mm256_fmadd_pd
#define DMAX _mm256_max_pd
#define DIF_NEGATIVE(v, a, b) _mm256_blendv_pd(b, a, v)
#define DPOWER_OF_2(v) _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(v), 52))
#define DEVEN(a, b) _mm256_permute4x64_pd(_mm256_unpacklo_pd(a, b), 0xd8)
#define DODD(a, b) _mm256_permute4x64_pd(_mm256_unpackhi_pd(a, b), 0xd8)
