/* An instruction set with the required operations of csrc/isa/vectors.h and no others. Needs FC_DTYPE. */
typedef FC_DTYPE vector FC_VECTOR_OF_16_BYTES;
typedef FC_DTYPE vector_in_memory __attribute__((vector_size(16), aligned(sizeof(FC_DTYPE)), may_alias));

#define FC_ISA minimal
#define FC_TARGET
#define FC_REGISTERS 16
#define VEC vector
#define LANES ((int)(sizeof(vector) / sizeof(FC_DTYPE)))
#define VLOAD(p) ((vector)(*(const vector_in_memory *)(p)))
#define VSTORE(p, v) (*(vector_in_memory *)(p) = (v))
#define VSET1(s) ((vector){0} + (FC_DTYPE)(s))
#define VADD(a, b) ((a) + (b))
#define VFMA(a, b, c) ((a) * (b) + (c))
