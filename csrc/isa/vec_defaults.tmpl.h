/* What an instruction set has not defined of vectors.h, by the operations that it has: lane by lane in memory, which
 * compilers turn to vectors now and then. No include guard; needs FC_NAME. */
#include <string.h>

#define FC_COLUMN_float int32_t
#define FC_COLUMN_double int64_t
#define FC_IS_float 0
#define FC_IS_double 1
#define COLUMN FC_JOIN(FC_COLUMN_, FC_DTYPE)

#ifndef VZERO
#define VZERO() VSET1(0)
#endif

#ifndef VMAX
FC_INLINE FC_TARGET VEC FC_NAME(default_max)(VEC a, VEC b) {
    FC_DTYPE x[LANES], y[LANES];
    VSTORE(x, a);
    VSTORE(y, b);
    for (int i = 0; i < LANES; i++) x[i] = x[i] > y[i] ? x[i] : y[i];
    return VLOAD(x);
}
#define VMAX FC_NAME(default_max)
#endif

#ifndef VMASK
typedef struct {
    COLUMN lane[LANES];
} FC_NAME(default_columns);
#define VCOLUMN FC_NAME(default_columns)
#define VMASK VCOLUMN

FC_INLINE FC_TARGET VMASK FC_NAME(default_takes)(VEC v, VEC best) {
    FC_DTYPE x[LANES], y[LANES];
    VMASK takes;
    VSTORE(x, v);
    VSTORE(y, best);
    for (int i = 0; i < LANES; i++) takes.lane[i] = !(x[i] <= y[i]) && y[i] == y[i];
    return takes;
}

FC_INLINE FC_TARGET VEC FC_NAME(default_select)(VMASK mask, VEC a, VEC b) {
    FC_DTYPE x[LANES], y[LANES];
    VSTORE(x, a);
    VSTORE(y, b);
    for (int i = 0; i < LANES; i++) x[i] = mask.lane[i] ? x[i] : y[i];
    return VLOAD(x);
}

FC_INLINE FC_TARGET VCOLUMN FC_NAME(default_column_load)(const COLUMN *source) {
    VCOLUMN value;
    memcpy(value.lane, source, sizeof value.lane);
    return value;
}

FC_INLINE FC_TARGET void FC_NAME(default_column_store)(COLUMN *target, VCOLUMN value) {
    memcpy(target, value.lane, sizeof value.lane);
}

FC_INLINE FC_TARGET VCOLUMN FC_NAME(default_column_set1)(COLUMN number) {
    VCOLUMN value;
    for (int i = 0; i < LANES; i++) value.lane[i] = number;
    return value;
}

FC_INLINE FC_TARGET VCOLUMN FC_NAME(default_column_add)(VCOLUMN a, VCOLUMN b) {
    for (int i = 0; i < LANES; i++) a.lane[i] += b.lane[i];
    return a;
}

FC_INLINE FC_TARGET VCOLUMN FC_NAME(default_column_select)(VMASK mask, VCOLUMN a, VCOLUMN b) {
    for (int i = 0; i < LANES; i++) a.lane[i] = mask.lane[i] ? a.lane[i] : b.lane[i];
    return a;
}

#define VTAKES FC_NAME(default_takes)
#define VSELECT FC_NAME(default_select)
#define VCOLUMN_LOAD FC_NAME(default_column_load)
#define VCOLUMN_STORE FC_NAME(default_column_store)
#define VCOLUMN_SET1 FC_NAME(default_column_set1)
#define VCOLUMN_ADD FC_NAME(default_column_add)
#define VCOLUMN_SELECT FC_NAME(default_column_select)
#endif

#ifndef VCOLUMN_STORE_WIDE
#if FC_JOIN(FC_IS_, FC_DTYPE)
#define VCOLUMN_STORE_WIDE VCOLUMN_STORE
#else
FC_INLINE FC_TARGET void FC_NAME(default_column_store_wide)(int64_t *target, VCOLUMN value) {
    COLUMN columns[LANES];
    VCOLUMN_STORE(columns, value);
    for (int i = 0; i < LANES; i++) target[i] = columns[i];
}
#define VCOLUMN_STORE_WIDE FC_NAME(default_column_store_wide)
#endif
#endif

#ifndef DVEC
/* As many as take the place of a VEC. */
enum {
    FC_NAME(default_doubles) =
        LANES * sizeof(FC_DTYPE) < sizeof(double) ? 1 : LANES * sizeof(FC_DTYPE) / sizeof(double)
};
typedef struct {
    double lane[FC_NAME(default_doubles)];
} FC_NAME(default_double_vector);
#define DLANES ((int)FC_NAME(default_doubles))
#define DVEC FC_NAME(default_double_vector)

FC_INLINE FC_TARGET DVEC FC_NAME(default_double_load)(const double *source) {
    DVEC value;
    memcpy(value.lane, source, sizeof value.lane);
    return value;
}

FC_INLINE FC_TARGET void FC_NAME(default_double_store)(double *target, DVEC value) {
    memcpy(target, value.lane, sizeof value.lane);
}

#define DLOAD FC_NAME(default_double_load)
#define DSTORE FC_NAME(default_double_store)
#endif

#ifndef DSET1
FC_INLINE FC_TARGET DVEC FC_NAME(default_double_set1)(double number) {
    double x[DLANES];
    for (int i = 0; i < DLANES; i++) x[i] = number;
    return DLOAD(x);
}
#define DSET1 FC_NAME(default_double_set1)
#endif

#ifndef DADD
FC_INLINE FC_TARGET DVEC FC_NAME(default_double_add)(DVEC a, DVEC b) {
    double x[DLANES], y[DLANES];
    DSTORE(x, a);
    DSTORE(y, b);
    for (int i = 0; i < DLANES; i++) x[i] += y[i];
    return DLOAD(x);
}
#define DADD FC_NAME(default_double_add)
#endif

#ifndef DSUB
FC_INLINE FC_TARGET DVEC FC_NAME(default_double_sub)(DVEC a, DVEC b) {
    double x[DLANES], y[DLANES];
    DSTORE(x, a);
    DSTORE(y, b);
    for (int i = 0; i < DLANES; i++) x[i] -= y[i];
    return DLOAD(x);
}
#define DSUB FC_NAME(default_double_sub)
#endif

#ifndef DMUL
FC_INLINE FC_TARGET DVEC FC_NAME(default_double_mul)(DVEC a, DVEC b) {
    double x[DLANES], y[DLANES];
    DSTORE(x, a);
    DSTORE(y, b);
    for (int i = 0; i < DLANES; i++) x[i] *= y[i];
    return DLOAD(x);
}
#define DMUL FC_NAME(default_double_mul)
#endif

#ifndef DDIV
FC_INLINE FC_TARGET DVEC FC_NAME(default_double_div)(DVEC a, DVEC b) {
    double x[DLANES], y[DLANES];
    DSTORE(x, a);
    DSTORE(y, b);
    for (int i = 0; i < DLANES; i++) x[i] /= y[i];
    return DLOAD(x);
}
#define DDIV FC_NAME(default_double_div)
#endif

#ifndef DFMA
#define DFMA(a, b, c) DADD(DMUL(a, b), c)
#endif

#ifndef DMAX
FC_INLINE FC_TARGET DVEC FC_NAME(default_double_max)(DVEC a, DVEC b) {
    double x[DLANES], y[DLANES];
    DSTORE(x, a);
    DSTORE(y, b);
    for (int i = 0; i < DLANES; i++) x[i] = x[i] > y[i] ? x[i] : y[i];
    return DLOAD(x);
}
#define DMAX FC_NAME(default_double_max)
#endif

#ifndef DIF_NEGATIVE
FC_INLINE FC_TARGET DVEC FC_NAME(default_if_negative)(DVEC v, DVEC a, DVEC b) {
    double x[DLANES], y[DLANES], z[DLANES];
    DSTORE(x, v);
    DSTORE(y, a);
    DSTORE(z, b);
    for (int i = 0; i < DLANES; i++) x[i] = x[i] < 0 ? y[i] : z[i];
    return DLOAD(x);
}
#define DIF_NEGATIVE FC_NAME(default_if_negative)
#endif

#ifndef DPOWER_OF_2
FC_INLINE FC_TARGET DVEC FC_NAME(default_power_of_2)(DVEC v) {
    double x[DLANES];
    uint64_t bits[DLANES];
    DSTORE(x, v);
    memcpy(bits, x, sizeof bits);
    for (int i = 0; i < DLANES; i++) bits[i] <<= 52;
    memcpy(x, bits, sizeof bits);
    return DLOAD(x);
}
#define DPOWER_OF_2 FC_NAME(default_power_of_2)
#endif

#ifndef DWIDEN
#if FC_JOIN(FC_IS_, FC_DTYPE)
#define DWIDEN DLOAD
#else
FC_INLINE FC_TARGET DVEC FC_NAME(default_widen)(const FC_DTYPE *source) {
    double x[DLANES];
    for (int i = 0; i < DLANES; i++) x[i] = source[i];
    return DLOAD(x);
}
#define DWIDEN FC_NAME(default_widen)
#endif
#endif

#ifndef DNARROW
#if FC_JOIN(FC_IS_, FC_DTYPE)
#define DNARROW DSTORE
#else
FC_INLINE FC_TARGET void FC_NAME(default_narrow)(FC_DTYPE *target, DVEC v) {
    double x[DLANES];
    DSTORE(x, v);
    for (int i = 0; i < DLANES; i++) target[i] = (FC_DTYPE)x[i];
}
#define DNARROW FC_NAME(default_narrow)
#endif
#endif
