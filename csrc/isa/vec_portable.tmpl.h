/* Load, store, broadcast and maximum of vec_<FC_DTYPE>, at any alignment. */

FC_INLINE FC_JOIN(vec_, FC_DTYPE) FC_JOIN(load_, FC_DTYPE)(const FC_DTYPE *source) {
    FC_JOIN(vec_, FC_DTYPE) value;
    memcpy(&value, source, sizeof value);
    return value;
}

FC_INLINE void FC_JOIN(store_, FC_DTYPE)(FC_DTYPE *target, FC_JOIN(vec_, FC_DTYPE) value) {
    memcpy(target, &value, sizeof value);
}

FC_INLINE FC_JOIN(vec_, FC_DTYPE) FC_JOIN(set1_, FC_DTYPE)(FC_DTYPE scalar) {
    const FC_JOIN(vec_, FC_DTYPE) zero = {0};
    return zero + scalar;
}

#define PORTABLE(name) FC_JOIN(name, FC_DTYPE)

/* As whole numbers: all bits set where a is greater, or NaN and b is not. */
FC_INLINE PORTABLE(column_) PORTABLE(takes_)(PORTABLE(vec_) a, PORTABLE(vec_) b) {
    return ~ALL_BITS(PORTABLE(column_), a <= b) & ALL_BITS(PORTABLE(column_), b == b);
}

FC_INLINE PORTABLE(vec_)
    PORTABLE(select_)(PORTABLE(column_) mask, PORTABLE(vec_) a, PORTABLE(vec_) b) {
    PORTABLE(column_) x, y;
    memcpy(&x, &a, sizeof a);
    memcpy(&y, &b, sizeof b);
    x = (x & mask) | (y & ~mask);
    memcpy(&a, &x, sizeof a);
    return a;
}

/* b where it is NaN. */
FC_INLINE PORTABLE(vec_) PORTABLE(max_)(PORTABLE(vec_) a, PORTABLE(vec_) b) {
    return PORTABLE(select_)(ALL_BITS(PORTABLE(column_), a > b), a, b);
}

FC_INLINE PORTABLE(column_) PORTABLE(load_column_)(const COLUMN *source) {
    PORTABLE(column_) value;
    memcpy(&value, source, sizeof value);
    return value;
}

FC_INLINE void PORTABLE(store_column_)(COLUMN *target, PORTABLE(column_) value) {
    memcpy(target, &value, sizeof value);
}

FC_INLINE PORTABLE(column_) PORTABLE(set1_column_)(COLUMN scalar) {
    const PORTABLE(column_) zero = {0};
    return zero + scalar;
}

FC_INLINE void PORTABLE(store_wide_)(int64_t *target, PORTABLE(column_) value) {
    COLUMN columns[sizeof value / sizeof(COLUMN)];
    memcpy(columns, &value, sizeof value);
    for (size_t i = 0; i < sizeof value / sizeof(COLUMN); i++) target[i] = columns[i];
}

/* As many as a vector of doubles has. */
FC_INLINE vec_double PORTABLE(widen_)(const FC_DTYPE *source) {
    double lanes[sizeof(vec_double) / sizeof(double)];
    for (size_t i = 0; i < sizeof(vec_double) / sizeof(double); i++) lanes[i] = source[i];
    return load_double(lanes);
}

FC_INLINE void PORTABLE(narrow_)(FC_DTYPE *target, vec_double value) {
    double lanes[sizeof(vec_double) / sizeof(double)];
    memcpy(lanes, &value, sizeof value);
    for (size_t i = 0; i < sizeof(vec_double) / sizeof(double); i++)
        target[i] = (FC_DTYPE)lanes[i];
}

#undef PORTABLE
