#include "../compiler.h"

#if FC_HAS_NEON

#include <arm_neon.h>

#include "../kernels/kernels.h"
#include "isa_list.h"

/* Part of every aarch64: 32 registers of 4 floats or 2 doubles. */
#define FC_ISA neon
#define FC_TARGET
#define FC_REGISTERS 32

#define FC_DTYPE float
#define TRANSPOSE_SIZE 4
#define LANES 4
#define VEC float32x4_t
#define VZERO() vdupq_n_f32(0)
#define VLOAD vld1q_f32
#define VSTORE vst1q_f32
#define VSET1 vdupq_n_f32
#define VFMA(a, b, c) vfmaq_f32(c, a, b)
#define VADD vaddq_f32
#define VMAX vmaxq_f32
#include "kernels.tmpl.h"
#include "end_type.h"

#define FC_DTYPE double
#define TRANSPOSE_SIZE 4
#define LANES 2
#define VEC float64x2_t
#define VZERO() vdupq_n_f64(0)
#define VLOAD vld1q_f64
#define VSTORE vst1q_f64
#define VSET1 vdupq_n_f64
#define VFMA(a, b, c) vfmaq_f64(c, a, b)
#define VADD vaddq_f64
#define VMAX vmaxq_f64
#include "kernels.tmpl.h"
#include "end_type.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
