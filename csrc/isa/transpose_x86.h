/* Transposes of register-sized blocks, for AVX2 and what includes it. */
#ifndef FC_TRANSPOSE_X86_H
#define FC_TRANSPOSE_X86_H

#include <immintrin.h>
#include <stddef.h>

#include "../compiler.h"

/* target[c * target_stride + r] = source[r * source_stride + c], r, c < 8. */
FC_INLINE FC_TARGET_ATTRIBUTE("avx2,fma") void transpose_8x8_float(const float *source,
                                                                   ptrdiff_t source_stride,
                                                                   float *target,
                                                                   ptrdiff_t target_stride) {
    __m256 r[8], t[8];
    FC_UNROLL for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(source + i * source_stride);
    FC_UNROLL for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    FC_UNROLL for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    FC_UNROLL for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(target + i * target_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(target + (i + 4) * target_stride,
                         _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

/* The same for r, c < 4. */
FC_INLINE FC_TARGET_ATTRIBUTE("avx2,fma") void transpose_4x4_double(const double *source,
                                                                    ptrdiff_t source_stride,
                                                                    double *target,
                                                                    ptrdiff_t target_stride) {
    __m256d r[4], t[4];
    FC_UNROLL for (int i = 0; i < 4; i++) r[i] = _mm256_loadu_pd(source + i * source_stride);
    FC_UNROLL for (int i = 0; i < 4; i += 2) {
        t[i] = _mm256_unpacklo_pd(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_pd(r[i], r[i + 1]);
    }
    FC_UNROLL for (int i = 0; i < 2; i++) {
        _mm256_storeu_pd(target + i * target_stride, _mm256_permute2f128_pd(t[i], t[i + 2], 0x20));
        _mm256_storeu_pd(target + (i + 2) * target_stride,
                         _mm256_permute2f128_pd(t[i], t[i + 2], 0x31));
    }
}

#endif
