#include "../compiler.h"

#if FC_HAS_NEON

#include <arm_neon.h>

#include "../kernels/kernels.h"
#include "isa_list.h"

/* Part of every aarch64: 32 registers of 4 floats or 2 doubles. */
#define FC_ISA neon
#define FC_TARGET
#define FC_REGISTERS 32
#define DLANES 2
#define DVEC float64x2_t
#define DLOAD vld1q_f64
#define DSTORE vst1q_f64
#define DSET1 vdupq_n_f64
#define DADD vaddq_f64
#define DSUB vsubq_f64
#define DMUL vmulq_f64
#define DDIV vdivq_f64
#define DFMA(a, b, c) vfmaq_f64(c, a, b)
#define DMAX vmaxq_f64
#define DEVEN vuzp1q_f64
#define DODD vuzp2q_f64
#define DIF_NEGATIVE(v, a, b) vbslq_f64(vcltzq_f64(v), a, b)
#define DPOWER_OF_2(v) vreinterpretq_f64_s64(vshlq_n_s64(vreinterpretq_s64_f64(v), 52))

#define FC_DTYPE float
#define LANES 4
#define VEC float32x4_t
#define VZERO() vdupq_n_f32(0)
#define VLOAD vld1q_f32
#define VSTORE vst1q_f32
#define VSET1 vdupq_n_f32
#define VFMA(a, b, c) vfmaq_f32(c, a, b)
#define VADD vaddq_f32
#define VMAX vmaxq_f32
#define VEVEN vuzp1q_f32
#define VODD vuzp2q_f32
#define VZIP_LOW vzip1q_f32
#define VZIP_HIGH vzip2q_f32
#define VMASK uint32x4_t
#define VTAKES(v, best) vbicq_u32(vceqq_f32(best, best), vcleq_f32(v, best))
#define VSELECT vbslq_f32
#define COLUMN int32_t
#define VCOLUMN int32x4_t
#define VCOLUMN_LOAD vld1q_s32
#define VCOLUMN_STORE vst1q_s32
#define VCOLUMN_SET1 vdupq_n_s32
#define VCOLUMN_ADD vaddq_s32
#define VCOLUMN_SELECT vbslq_s32
#define VCOLUMN_STORE_WIDE(p, v) \
    (vst1q_s64(p, vmovl_s32(vget_low_s32(v))), vst1q_s64((p) + 2, vmovl_high_s32(v)))
#define DWIDEN(p) vcvt_f64_f32(vld1_f32(p))
#define DNARROW(p, v) vst1_f32(p, vcvt_f32_f64(v))
#include "kernels.tmpl.h"
#include "end_type.h"

#define FC_DTYPE double
#define LANES 2
#define VEC float64x2_t
#define VZERO() vdupq_n_f64(0)
#define VLOAD vld1q_f64
#define VSTORE vst1q_f64
#define VSET1 vdupq_n_f64
#define VFMA(a, b, c) vfmaq_f64(c, a, b)
#define VADD vaddq_f64
#define VMAX vmaxq_f64
#define VEVEN DEVEN
#define VODD DODD
#define VZIP_LOW vzip1q_f64
#define VZIP_HIGH vzip2q_f64
#define VMASK uint64x2_t
#define VTAKES(v, best) vbicq_u64(vceqq_f64(best, best), vcleq_f64(v, best))
#define VSELECT vbslq_f64
#define COLUMN int64_t
#define VCOLUMN int64x2_t
#define VCOLUMN_LOAD vld1q_s64
#define VCOLUMN_STORE vst1q_s64
#define VCOLUMN_SET1 vdupq_n_s64
#define VCOLUMN_ADD vaddq_s64
#define VCOLUMN_SELECT vbslq_s64
#define VCOLUMN_STORE_WIDE vst1q_s64
#define DWIDEN DLOAD
#define DNARROW DSTORE
#include "kernels.tmpl.h"
#include "end_type.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
