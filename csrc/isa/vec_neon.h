/* NEON, part of every aarch64: 32 registers of 4 floats or 2 doubles. */
#include <arm_neon.h>

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
