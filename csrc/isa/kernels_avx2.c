#include "../compiler.h"

#if FC_HAS_X86

#include "../kernels/kernels.h"
#include "isa_list.h"
#include "transpose_x86.h"
#include "vec_avx2.h"

#define FC_DTYPE float
#define TRANSPOSE_SIZE 8
#define TRANSPOSE transpose_8x8_float
#define LANES 8
#define VEC __m256
#define VZERO _mm256_setzero_ps
#define VLOAD _mm256_loadu_ps
#define VSTORE _mm256_storeu_ps
#define VSET1 _mm256_set1_ps
#define VFMA _mm256_fmadd_ps
#define VADD _mm256_add_ps
#define VMAX _mm256_max_ps
#include "kernels.tmpl.h"
#include "end_type.h"

#define FC_DTYPE double
#define TRANSPOSE_SIZE 4
#define TRANSPOSE transpose_4x4_double
#define LANES 4
#define VEC __m256d
#define VZERO _mm256_setzero_pd
#define VLOAD _mm256_loadu_pd
#define VSTORE _mm256_storeu_pd
#define VSET1 _mm256_set1_pd
#define VFMA _mm256_fmadd_pd
#define VADD _mm256_add_pd
#define VMAX _mm256_max_pd
#include "kernels.tmpl.h"
#include "end_type.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
