/* The vector operations of which kernels are written. An instruction set defines them as macros for one element type,
 * FC_DTYPE, then includes kernels.tmpl.h, which includes this list and the defaults.
 * p: a pointer at any alignment. n: 0 to LANES. v, a, b, c: a VEC or DVEC, and where it says so a VCOLUMN.
 *
 * Of all its element types (vec_<isa>.h):
 *   FC_ISA                      its name, as in isa_list.h
 *   FC_TARGET                   FC_TARGET_ATTRIBUTE of what its functions need, or nothing
 *   FC_REGISTERS                vector registers: 16, or 32 and more
 *
 * Required:
 *   FC_DTYPE                    float or double
 *   VEC                         the type of a vector of FC_DTYPE
 *   LANES                       its elements, a power of 2; a literal where VEVEN is defined
 *   VLOAD(p)                    the VEC at p
 *   VSTORE(p, v)                v to p
 *   VSET1(s)                    the number s in all lanes
 *   VADD(a, b)                  a + b
 *   VFMA(a, b, c)               a * b + c, rounded once where that is one instruction
 *
 * With a default (vec_defaults.tmpl.h), which is right but mostly slow:
 *   VZERO()                     0 in all lanes
 *   VMAX(a, b)                  the greater one; b if b is NaN; if only a is, either
 *   TRANSPOSE(p, s, q, t)       LANES lines of 16 bytes, s elements apart, to columns at q, t elements apart; with it
 *   TRANSPOSE_FEW(p, s, q, t)   as many lines as 16 bytes have elements
 *
 * With a default, of indices of maxima; defined all together, VCOLUMN_STORE_WIDE perhaps not:
 *   VMASK                       the type of a condition in each lane
 *   VTAKES(v, best)             where v > best, or v is NaN and best is not
 *   VSELECT(m, a, b)            a where m holds, else b
 *   VCOLUMN                     the type of LANES whole numbers of type COLUMN: int32_t for float, int64_t for double
 *   VCOLUMN_LOAD(p)             the VCOLUMN at p
 *   VCOLUMN_STORE(p, v)         the VCOLUMN v to p
 *   VCOLUMN_SET1(s)             the COLUMN s in all lanes
 *   VCOLUMN_ADD(a, b)           a + b, of VCOLUMNs
 *   VCOLUMN_SELECT(m, a, b)     VSELECT of VCOLUMNs
 *   VCOLUMN_STORE_WIDE(p, v)    the VCOLUMN v to p as int64_t
 *
 * With a default, of sums in double; the first four defined together:
 *   DVEC                        the type of a vector of doubles, for double perhaps VEC
 *   DLANES                      its elements, a power of 2, at most LANES
 *   DLOAD(p)                    the DVEC at p
 *   DSTORE(p, v)                the DVEC v to p
 *   DSET1(s)                    the double s in all lanes
 *   DADD(a, b)                  a + b
 *   DSUB(a, b)                  a - b
 *   DMUL(a, b)                  a * b
 *   DDIV(a, b)                  a / b
 *   DFMA(a, b, c)               a * b + c, rounded once where that is one instruction
 *   DMAX(a, b)                  the greater one; b if b is NaN; if only a is, either
 *   DIF_NEGATIVE(v, a, b)       a where v < 0, b where v > 0; where v is 0 or NaN, either
 *   DPOWER_OF_2(v)              2**n, of the n + 1023 in the lowest bits of v
 *   DWIDEN(p)                   DLANES elements of FC_DTYPE at p, as doubles
 *   DNARROW(p, v)               v to p, rounded to FC_DTYPE
 *
 * Without the next four, whose lanes come from the two vectors a, b as if they were one array: lines of pools and of
 * steps of two go element by element, kernels of pool_lines are NULL, sums of lanes are scalar.
 *   VEVEN(a, b)                 elements 0, 2, 4 ...
 *   VODD(a, b)                  elements 1, 3, 5 ...
 *   DEVEN(a, b)                 VEVEN of DVECs
 *   DODD(a, b)                  VODD of DVECs
 *
 * Without the next two residues of a stride are interleaved element by element:
 *   VZIP_LOW(a, b)              a[0], b[0], a[1], b[1] ... of the first half of the lanes
 *   VZIP_HIGH(a, b)             those of the second half
 *
 * Without the next two what is left of a line goes element by element, and pixel_dots is NULL:
 *   VLOAD_FIRST(p, n)           the first n elements at p, which alone are read; the other lanes are 0
 *   VSTORE_FIRST(p, n, v)       the first n lanes of v
 *
 * Without the next two, beside VLOAD_FIRST and VZIP_LOW, residues are not stored by vectors:
 *   VLOAD_EVERY_OTHER(p, n)     of the first n elements at p the first, third ..., which alone are read; other lanes: 0
 *   VSTORE_EVERY_OTHER(p, n, v) of the first n lanes of v the first, third ...
 *
 * Without the next seven, beside VEVEN, VZIP_LOW and the VCOLUMNs, kernels of direct_lines are NULL, and pad_short
 * goes element by element:
 *   VSUBSET                     the type of a choice of lanes
 *   VLANES(column, columns)     lanes i with 0 <= column + i < columns; all of them below 2**30
 *   VLOAD_LANES(p, m)           the elements at p of the lanes in m, which alone are read; the other lanes are 0
 *   VSTORE_LANES(p, m, v)       the lanes of v in m, which are the first ones, or none
 *   VMASKED_IS_SLOW             1 where VLOAD_LANES takes longer than VLOAD, else 0
 *   VNOT_ALL(m)                 m, from which VLOAD_LANES need not ask whether all lanes are in it
 *   VNEXT(a, b, n)              a without its first n elements, then the first n of b; n is 1 or 2
 *
 * Without the next two, beside those, kernels of direct_narrow are NULL; they are for vectors of 16 or so:
 *   VNOT_NEGATIVE(index)        lanes whose element of the VCOLUMN index is not negative
 *   VPICK(m, index, v)          the elements of v that the VCOLUMN index names, in the lanes of m; the others are 0 */
#ifndef FC_VECTORS_H
#define FC_VECTORS_H

#if !defined(FC_ISA) || !defined(FC_TARGET) || !defined(FC_REGISTERS) || !defined(FC_DTYPE)
#error "FC_ISA, FC_TARGET, FC_REGISTERS and FC_DTYPE say of what the operations are"
#endif
#if !defined(VEC) || !defined(LANES) || !defined(VLOAD) || !defined(VSTORE) || !defined(VSET1) || !defined(VADD) || \
    !defined(VFMA)
#error "VEC, LANES, VLOAD, VSTORE, VSET1, VADD and VFMA are required"
#endif
#if defined(TRANSPOSE) != defined(TRANSPOSE_FEW)
#error "TRANSPOSE and TRANSPOSE_FEW are defined together"
#endif
#if defined(VMASK) != defined(VTAKES) || defined(VMASK) != defined(VSELECT) || defined(VMASK) != defined(VCOLUMN) || \
    defined(VMASK) != defined(VCOLUMN_LOAD) || defined(VMASK) != defined(VCOLUMN_STORE) ||                            \
    defined(VMASK) != defined(VCOLUMN_SET1) || defined(VMASK) != defined(VCOLUMN_ADD) ||                              \
    defined(VMASK) != defined(VCOLUMN_SELECT)
#error "VMASK, VTAKES, VSELECT and the VCOLUMNs are defined together"
#endif
#if defined(DVEC) != defined(DLANES) || defined(DVEC) != defined(DLOAD) || defined(DVEC) != defined(DSTORE)
#error "DVEC, DLANES, DLOAD and DSTORE are defined together"
#endif
#if defined(VEVEN) != defined(VODD) || defined(VEVEN) != defined(DEVEN) || defined(VEVEN) != defined(DODD)
#error "VEVEN, VODD, DEVEN and DODD are defined together"
#endif
#if defined(VZIP_LOW) != defined(VZIP_HIGH) || defined(VLOAD_FIRST) != defined(VSTORE_FIRST)
#error "VZIP_LOW and VZIP_HIGH are defined together, and VLOAD_FIRST and VSTORE_FIRST"
#endif
#if defined(VLOAD_EVERY_OTHER) != defined(VSTORE_EVERY_OTHER) || \
    (defined(VLOAD_EVERY_OTHER) && (!defined(VLOAD_FIRST) || !defined(VZIP_LOW)))
#error "VLOAD_EVERY_OTHER and VSTORE_EVERY_OTHER are defined together, beside VLOAD_FIRST and VZIP_LOW"
#endif
#if defined(VLANES) != defined(VLOAD_LANES) || defined(VLANES) != defined(VSTORE_LANES) || \
    defined(VLANES) != defined(VNEXT) || defined(VLANES) != defined(VSUBSET) ||            \
    defined(VLANES) != defined(VMASKED_IS_SLOW) || defined(VLANES) != defined(VNOT_ALL) || \
    (defined(VLANES) && (!defined(VZIP_LOW) || !defined(VEVEN) || !defined(VMASK)))
#error "VSUBSET, what takes or gives it, VMASKED_IS_SLOW and VNEXT go together, beside VEVEN, VZIP_LOW and VMASK"
#endif
#if defined(VPICK) != defined(VNOT_NEGATIVE) || (defined(VPICK) && !defined(VLANES))
#error "VPICK and VNOT_NEGATIVE are defined together, beside VLANES"
#endif

#endif
