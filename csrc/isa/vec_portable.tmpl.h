/* Operations on vec_<ELEMENT> and column_<ELEMENT>, at any alignment. */
#define PORTABLE(name) FC_JOIN(name, ELEMENT)

FC_INLINE PORTABLE(vec_) PORTABLE(load_)(const ELEMENT *source) {
    PORTABLE(vec_) value;
    memcpy(&value, source, sizeof value);
    return value;
}

FC_INLINE void PORTABLE(store_)(ELEMENT *target, PORTABLE(vec_) value) {
    memcpy(target, &value, sizeof value);
}

FC_INLINE PORTABLE(vec_) PORTABLE(set1_)(ELEMENT scalar) {
    const PORTABLE(vec_) zero = {0};
    return zero + scalar;
}

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

FC_INLINE PORTABLE(column_) PORTABLE(load_column_)(const ELEMENT_COLUMN *source) {
    PORTABLE(column_) value;
    memcpy(&value, source, sizeof value);
    return value;
}

FC_INLINE void PORTABLE(store_column_)(ELEMENT_COLUMN *target, PORTABLE(column_) value) {
    memcpy(target, &value, sizeof value);
}

FC_INLINE PORTABLE(column_) PORTABLE(set1_column_)(ELEMENT_COLUMN scalar) {
    const PORTABLE(column_) zero = {0};
    return zero + scalar;
}

#undef PORTABLE

