/* AVX-512 F, DQ, BW, VL: 32 registers of 16 floats or 8 doubles. */
#include <immintrin.h>

#define FC_ISA avx512
#define FC_TARGET FC_TARGET_ATTRIBUTE("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define FC_REGISTERS 32

/* A vector's first n elements, 0 <= n <= lanes; the rest is not touched. */
#define FC_FIRST(n) ((1u << (n)) - 1)
/* Every other one of the first lanes, from the first on. */
#define FC_EVERY_OTHER(n) (FC_FIRST(n) & 0x5555u)

#define DLANES 8
#define DVEC __m512d
#define DLOAD _mm512_loadu_pd
#define DSTORE _mm512_storeu_pd
#define DSET1 _mm512_set1_pd
#define DADD _mm512_add_pd
#define DSUB _mm512_sub_pd
#define DMUL _mm512_mul_pd
#define DDIV _mm512_div_pd
#define DFMA _mm512_fmadd_pd
#define DMAX _mm512_max_pd
#define DIF_NEGATIVE(v, a, b) _mm512_mask_blend_pd(_mm512_movepi64_mask(_mm512_castpd_si512(v)), b, a)
#define DPOWER_OF_2(v) _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(v), 52))
#define DEVEN(a, b) _mm512_permutex2var_pd(a, _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0), b)
#define DODD(a, b) _mm512_permutex2var_pd(a, _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1), b)
