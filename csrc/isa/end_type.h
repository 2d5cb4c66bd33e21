/* Ends what an instruction set defined for one element type, before the next. No include guard. */
#undef FC_DTYPE
#undef LANES
#undef TRANSPOSE_SIZE
#undef TRANSPOSE
#undef VEC
#undef VZERO
#undef VLOAD
#undef VSTORE
#undef VSET1
#undef VFMA
#undef VADD
#undef VMAX
#undef VLOAD_FIRST
#undef VSTORE_FIRST
